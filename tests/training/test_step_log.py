"""The log of steps: after kills, restarts and full disks it has every step once."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from adatad_jax.training.loop import Done
from adatad_jax.training.step_log import STEPS_FILE, LogSteps, last_step, read_steps

RATES = {"tia": np.arange(10) / 10, "head": np.arange(10) / 100}


def take(log: LogSteps, *steps: int, loss: float = 1.0) -> None:
    for step in steps:
        log.after_step(Done(step, None, {"loss": loss}, 0.5, 0.125))  # type: ignore[arg-type]


def test_a_line_has_all_that_is_known_of_a_step(tmp_path: Path) -> None:
    log = LogSteps(tmp_path, 0, RATES, steps_per_epoch=4, shift=2)
    take(log, 0, loss=1 / 3)
    take(log, 1, loss=float("nan"))
    assert [json.loads(line) for line in (tmp_path / STEPS_FILE).read_text().splitlines()] == [
        {
            "step": 1,
            "epoch": 0.75,
            "loss": 0.333333,
            "rate_tia": 0,
            "rate_head": 0,
            "seconds": 0.5,
            "waited": 0.125,
        },
        {"step": 2, "epoch": 1, "loss": None, "rate_tia": 0.1, "rate_head": 0.01, "seconds": 0.5, "waited": 0.125},
    ]
    np.testing.assert_array_equal(read_steps(tmp_path)["loss"], [0.333333, np.nan])


def test_a_restart_replaces_the_steps_that_are_taken_again(tmp_path: Path) -> None:
    take(LogSteps(tmp_path, 0, RATES, 4), *range(7))
    assert last_step(tmp_path) == 7
    take(LogSteps(tmp_path, 4, RATES, 4), 4, 5, loss=2.0)
    steps = read_steps(tmp_path)
    assert steps["step"].tolist() == [1, 2, 3, 4, 5, 6]
    assert steps["loss"].tolist() == [1, 1, 1, 1, 2, 2]


def test_what_a_crash_has_torn_is_left_out(tmp_path: Path) -> None:
    take(LogSteps(tmp_path, 0, RATES, 4), 0, 1, 2)
    path = tmp_path / STEPS_FILE
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\0" * 40 + b"\n" + lines[2] + lines[2][:9])
    assert read_steps(tmp_path)["step"].tolist() == [1, 3]
    take(LogSteps(tmp_path, 1, RATES, 4), 1)
    assert read_steps(tmp_path)["step"].tolist() == [1, 2]
    assert path.read_bytes().endswith(b"}\n")


def test_a_full_disk_costs_no_line_and_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log, path, aside = LogSteps(tmp_path, 0, RATES, 4), tmp_path / STEPS_FILE, tmp_path / "aside"
    take(log, 0)
    path.rename(aside)
    path.symlink_to("/dev/full")
    with caplog.at_level(logging.WARNING):
        take(log, 1, 2)
    assert len(caplog.records) == 1
    assert "No space left on device" in caplog.text
    aside.replace(path)
    take(log, 3)
    assert read_steps(tmp_path)["step"].tolist() == [1, 2, 3, 4]


def test_a_folder_without_a_log_has_no_steps(tmp_path: Path) -> None:
    assert read_steps(tmp_path) == {}
    assert last_step(tmp_path) == 0
