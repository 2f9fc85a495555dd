"""Trainings of several processes: the same as one process, shared, refused where they differ, and continued."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adatad_jax.errors import Exit
from adatad_jax.training.history import read_history
from benchmarks.kills.compare import differences
from tests.processes import finish, make_run, start

FIELDS = {"train__epochs": 2, "train__batch_size": 4, "train__eval_from": 1, "train__eval_every": 1}
SAME = {"step", "loss", "grad_norm", "average_mAP", "positives", "windows_without_segment", "windows_skipped"}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration file of a run on 6 training and 3 test videos."""
    return make_run(tmp_path_factory.mktemp("run") / "data", videos=9, tested=3, **FIELDS)


def run(config: Path, workdir: Path, count: int, devices: int, *more: object) -> list[tuple[int, str, str]]:
    return finish(start(("--config", config, "--workdir", workdir, *more), count, devices))


def assert_same_histories(one: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]]) -> None:
    assert len(one) == len(other) > 0
    for first, second in zip(one, other, strict=True):
        assert first.keys() == second.keys()
        for name in first.keys() & SAME:
            np.testing.assert_allclose(first[name], second[name], rtol=1e-5, err_msg=name)


def test_processes_that_are_given_different_things_end_before_the_first_step(config: Path, tmp_path: Path) -> None:
    arguments = ("--config", config, "--workdir", tmp_path / "run")
    ended = finish(start(arguments, 2, own={1: ("--config.train.batch_size=2", "--config.data.threads=1")}))
    assert [code for code, _, _ in ended] == [Exit.USER_ERROR] * 2
    for _, _, errors in ended:
        assert "config.train.batch_size: process 1 has 2, process 0 4" in errors
        assert "threads" not in errors  # of a machine
        assert "Traceback" not in errors
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("count", "devices"), [(2, 1), (2, 2), (4, 1)])
def test_several_processes_learn_the_same_as_one(config: Path, tmp_path: Path, count: int, devices: int) -> None:
    """20 steps, evaluations among them; process 0 alone writes and reports."""
    fields = ("--config.train.epochs=10", "--config.train.schedule_epochs=12", "--config.train.eval_from=9")
    [(code, _, errors)] = run(config, tmp_path / "one", 1, 1, *fields)
    assert code == 0, errors
    ended = run(config, tmp_path / "several", count, devices, *fields)
    assert [code for code, _, _ in ended] == [0] * count, ended
    assert f"{count * devices} of {count * devices} cpu device(s) used" in ended[0][1]
    assert not any("epoch" in output for _, output, _ in ended[1:])
    assert_same_histories(read_history(tmp_path / "one"), read_history(tmp_path / "several"))
    assert json.loads((tmp_path / "several" / "config.json").read_text())["config"]["distributed.process"] == -1


@pytest.mark.slow
def test_several_processes_that_share_windows_learn_the_same_as_one(config: Path, tmp_path: Path) -> None:
    """Two windows of two chunks on four processes: neighbours exchange the border of a window, and its features."""
    fields = ("--config.data.window=32", "--config.train.batch_size=2", "--config.train.epochs=4")
    more = (*fields, "--config.train.schedule_epochs=6", "--config.train.eval_from=4")
    [(code, _, errors)] = run(config, tmp_path / "one", 1, 1, *more)
    assert code == 0, errors
    ended = run(config, tmp_path / "several", 4, 1, *more)
    assert [code for code, _, _ in ended] == [0] * 4, ended
    assert "4 of 4 cpu device(s) used" in ended[0][1]
    assert_same_histories(read_history(tmp_path / "one"), read_history(tmp_path / "several"))


def wait_for_epoch(workdir: Path, processes: Sequence[subprocess.Popen[str]]) -> None:
    while not read_history(workdir) and all(one.poll() is None for one in processes):
        time.sleep(0.05)


@pytest.mark.slow
def test_a_process_may_be_late_for_the_first_step(config: Path, tmp_path: Path) -> None:
    """It stands still for longer than the 30 seconds that collectives on CPUs give the last process to connect."""
    workdir = tmp_path / "run"
    processes = start(("--config", config, "--workdir", workdir), 2)
    while not (workdir / "config.json").exists() and all(one.poll() is None for one in processes):
        time.sleep(0.01)
    processes[1].send_signal(signal.SIGSTOP)
    time.sleep(40)
    processes[1].send_signal(signal.SIGCONT)
    ended = finish(processes)
    assert [code for code, _, _ in ended] == [0, 0], ended


@pytest.mark.slow
def test_a_run_that_lost_a_process_continues_bit_by_bit(config: Path, tmp_path: Path) -> None:
    more = ("--config.train.epochs=6", "--config.train.schedule_epochs=6", "--config.train.checkpoint_every=1")
    assert [code for code, _, _ in run(config, tmp_path / "whole", 2, 1, *more)] == [0, 0]
    processes = start(("--config", config, "--workdir", tmp_path / "killed", *more), 2)
    wait_for_epoch(tmp_path / "killed", processes)
    processes[1].kill()
    (code, _, errors), _ = finish(processes)
    assert code == Exit.MACHINE
    assert "process 1: gone" in errors
    assert [code for code, _, _ in run(config, tmp_path / "killed", 2, 1, *more)] == [0, 0]
    assert differences(tmp_path / "whole", tmp_path / "killed") == []


@pytest.mark.slow
def test_one_process_that_is_asked_to_leave_takes_the_others_along(config: Path, tmp_path: Path) -> None:
    more = ("--config.train.epochs=200", "--config.train.schedule_epochs=200", "--config.train.eval_from=0")
    processes = start(("--config", config, "--workdir", tmp_path / "run", *more), 2)
    wait_for_epoch(tmp_path / "run", processes)
    processes[1].terminate()
    ended = finish(processes)
    assert [code for code, _, _ in ended] == [Exit.CONTINUE] * 2, ended
    steps = [int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir() if path.name.isdecimal()]
    assert f"left after step {max(steps)}" in ended[0][1]


@pytest.mark.slow
def test_a_video_that_one_process_cannot_read_ends_all_with_its_message(config: Path, tmp_path: Path) -> None:
    """Process 1 reads copies of the videos, which are cut off while it trains."""
    videos = tmp_path / "videos"
    shutil.copytree(config.parent / "videos", videos)
    own = {1: (f"--config.data.videos={videos}",)}
    more = ("--config.train.epochs=100", "--config.train.schedule_epochs=100", "--config.train.eval_from=0")
    fields = (*more, "--config.data.in_memory=False", "--config.data.retries=0")
    processes = start(("--config", config, "--workdir", tmp_path / "run", *fields), 2, own=own)
    wait_for_epoch(tmp_path / "run", processes)
    for path in videos.iterdir():
        os.truncate(path, path.stat().st_size // 4)
    first, second = finish(processes)
    assert (first[0], second[0]) == (Exit.USER_ERROR, Exit.USER_ERROR)
    assert str(videos) in second[2].splitlines()[-1]
    assert str(videos) in first[2].splitlines()[-1]
    assert "process 1" in first[2]
    steps = [int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir() if path.name.isdecimal()]
    assert f"the state after step {max(steps)} is saved" in first[1] + first[2]
