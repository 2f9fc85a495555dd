"""The history of a run, and the sums over an epoch."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from adatad_jax.errors import UserError
from adatad_jax.training.epochs import LogEpoch
from adatad_jax.training.history import Tally, read_history, write_history
from adatad_jax.training.loop import Done, Place
from tests.training.states import STATE


def test_history_without_its_torn_last_line(tmp_path: Path) -> None:
    write_history(tmp_path, [{"epoch": 1}, {"epoch": 2}])
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write(json.dumps({"epoch": 3})[:5])
    assert read_history(tmp_path) == [{"epoch": 1}, {"epoch": 2}]


@pytest.mark.parametrize("line", [b"{broken", b"[1]", b"7", b"\xff"])
def test_a_damaged_line_of_a_history_is_named(line: bytes, tmp_path: Path) -> None:
    write_history(tmp_path, [{"epoch": 1, "step": 2}])
    with (tmp_path / "history.jsonl").open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(UserError, match=r"history\.jsonl, line 2\b"):
        read_history(tmp_path)


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


def test_a_history_that_cannot_be_written_is_written_as_soon_as_it_can_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = tmp_path / ".history.jsonl.partial"
    in_the_way.mkdir()
    console, zeros = Console(quiet=True), {"loss": 0, "grad_norm": 0, "seconds": 0, "windows_without_segment": 0}
    hook = LogEpoch(tmp_path, console)
    for epoch in (1, 2):
        hook.pause(Place(epoch, epoch, 0), STATE, {"epoch": epoch, "step": epoch, **zeros})
    assert len(caplog.records) == 2
    assert "history.jsonl: cannot be written" in caplog.messages[0]
    step = Done(2, None, {}, 0.1)  # type: ignore[arg-type]
    hook.after_step(step)
    in_the_way.rmdir()
    hook.after_step(step)  # before a checkpoint inside the epoch is saved, from which the run may go on
    assert [record["epoch"] for record in read_history(tmp_path)] == [1, 2]
    assert len(caplog.records) == 2
    hook.pause(Place(3, 3, 0), STATE, {"epoch": 3, "step": 3, **zeros})
    hook.pause(Place(4, 4, 0), STATE, {"epoch": 4, "step": 4, **zeros})
    assert [record["epoch"] for record in read_history(tmp_path)] == [1, 2, 3, 4]
