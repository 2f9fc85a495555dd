"""Trainings that are interrupted between the checkpoint of an epoch and its line in the history."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache
from rich.console import Console

from adatad_jax.pipelines.evaluate_detector import evaluate
from adatad_jax.training import checkpoints, evaluating
from adatad_jax.training.history import read_history
from tests.tiny_run import make_data, run_config, same, trained


def without_times(workdir: Path) -> list[dict[str, Any]]:
    return [{name: value for name, value in record.items() if name != "seconds"} for record in read_history(workdir)]


@pytest.fixture
def compiled_once(tmp_path: Path) -> Iterator[None]:
    """Keeps compiled programs on disk, because the same ones are compiled again and again."""
    options = {"jax_compilation_cache_dir": str(tmp_path / "compiled"), "jax_persistent_cache_min_compile_time_secs": 0}
    before = {name: getattr(jax.config, name) for name in options}
    for name, value in options.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.mark.usefixtures("compiled_once")
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
