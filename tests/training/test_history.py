"""The history of a run, and the sums over an epoch."""

import json
from pathlib import Path

from adatad_jax.training.history import Tally, read_history, write_history


def test_history_without_its_torn_last_line(tmp_path: Path) -> None:
    write_history(tmp_path, [{"epoch": 1}, {"epoch": 2}])
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write(json.dumps({"epoch": 3})[:5])
    assert read_history(tmp_path) == [{"epoch": 1}, {"epoch": 2}]


def test_an_epoch_continued_from_its_saved_sums_has_the_same_record() -> None:
    steps = [{"loss": 0.1 * step, "grad_norm": 0.1 * step + 1} for step in range(5)]
    whole, first = Tally(), Tally()
    for step in steps:
        whole.add(step, windows_skipped=1)
    for step in steps[:2]:
        first.add(step, windows_skipped=1)
    second = Tally(json.loads(json.dumps(first.saved())))
    for step in steps[2:]:
        second.add(step, windows_skipped=1)
    record = whole.finish()
    assert second.finish() == record
    assert record["windows_skipped"] == 5  # a sum; metrics are means
    assert record["loss"] == sum(step["loss"] for step in steps) / 5
    assert whole.saved() == {}
