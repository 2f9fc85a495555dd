"""Trainings that are interrupted between the checkpoint of an epoch and its line in the history."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from adatad_jax.data.loader import Loaded, TrainingBatches
from adatad_jax.errors import UserError
from adatad_jax.pipelines.evaluate_detector import evaluate
from adatad_jax.training import checkpoints, evaluating
from adatad_jax.training.history import read_history
from tests.tiny_run import make_data, run_config, same, trained


def without_times(workdir: Path) -> list[dict[str, Any]]:
    return [{name: value for name, value in record.items() if name != "seconds"} for record in read_history(workdir)]


@pytest.mark.slow
def test_an_evaluation_that_fails_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The epoch is evaluated by the next start, or alone; the run ends as one that nothing has interrupted."""
    data = make_data(tmp_path / "data", 4)
    config = run_config(data, data / "all.json", data__test_subset="training", train__eval_from=1, train__eval_every=1)
    state, _ = trained(config, tmp_path / "whole")
    expected = without_times(tmp_path / "whole")
    assert [record["epoch"] for record in expected] == [1, 2]
    assert all("average_mAP" in record for record in expected)

    def cut(*_: Any) -> None:
        raise OSError("the disk of the videos is gone")

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(evaluating.Evaluate, "pause", cut)
        with pytest.raises(OSError, match="is gone"):
            trained(config, run)
    step = expected[0]["step"]
    assert without_times(run) == []
    with checkpoints.open_manager(run) as manager:
        assert manager.all_steps() == [step]
    metrics = evaluate(config, run, Console(quiet=True), step=step)
    assert metrics.average_map == expected[0]["average_mAP"]

    again, said = trained(config, run)
    same(again, state)
    assert without_times(run) == expected
    assert len(re.findall(r"^epoch +1 ", said, re.MULTILINE)) == 1


@pytest.mark.slow
def test_an_epoch_stays_in_the_history_until_its_later_evaluation_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that did not evaluate leaves after its first epoch, and is to evaluate it now; that start is killed."""
    data = make_data(tmp_path / "data", 4)
    config = run_config(data, data / "all.json", data__test_subset="training", train__checkpoint_every=9)
    evaluates = config.with_fields({"train.eval_from": 1, "train.eval_every": 1})
    load = TrainingBatches.from_step

    def gone(self: TrainingBatches, first: int, end: int) -> Iterator[Loaded]:
        yield from load(self, first, self.steps_per_epoch)
        raise UserError("a video is gone")

    def cut(*_: Any) -> None:
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(TrainingBatches, "from_step", gone)
        with pytest.raises(UserError, match="is gone"):
            trained(config, tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(evaluating.Evaluate, "pause", cut)
        with pytest.raises(OSError, match="killed"):
            trained(evaluates, tmp_path / "run")
    assert [record["epoch"] for record in read_history(tmp_path / "run")] == [1]
    trained(evaluates, tmp_path / "run")
    history = read_history(tmp_path / "run")
    assert [record["epoch"] for record in history] == [1, 2]
    assert all("average_mAP" in record for record in history)
