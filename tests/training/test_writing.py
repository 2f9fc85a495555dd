"""Disks that fill up, folders that vanish, and what is said about it: real failures, and a real full disk."""

import logging
import re
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from adatad_jax.errors import Left, UserError
from adatad_jax.training import checkpoints
from adatad_jax.training.checkpoints import snapshot
from adatad_jax.training.choosing import read_chosen
from adatad_jax.training.leaving import leaves_when_asked
from adatad_jax.training.writing import CheckpointWriter, has_room
from tests.training.states import state_after

LARGE = 100_000  # numbers in the state: 400 kB
LONG = 60.0  # seconds within which what must happen does, however loaded the machine is


@contextmanager
def small_files() -> Iterator[None]:
    """Lets this process write no file above 64 kB: a failure that the free space of a disk does not foretell."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG
    while not until():
        assert time.monotonic() < end
        time.sleep(0.05)


def write(writer: CheckpointWriter, step: int) -> None:
    writer.write(snapshot(step, state_after(step, LARGE), {"epoch": step, "tally": {}}))


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """Mounts a disk of 2 MB with room for one checkpoint at most."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    (disk / "filling").write_bytes(bytes((1 << 21) - (1 << 19) - (1 << 17)))
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_checkpoint_is_written_in_the_background(tmp_path: Path) -> None:
    with checkpoints.open_manager(tmp_path, keep=2) as manager:
        with CheckpointWriter(manager, 5) as writer:
            for step in (1, 2, 3):
                write(writer, step)
        assert sorted(manager.all_steps()) == [2, 3]
    assert read_chosen(tmp_path).step == 3


def test_a_checkpoint_is_written_though_an_older_one_cannot_be_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with checkpoints.open_manager(tmp_path, keep=1) as manager, CheckpointWriter(manager, 1) as writer:
        in_the_way = tmp_path / "checkpoints/removed"
        in_the_way.write_text("not the folder into which the old one moves")
        for step in (1, 2):
            write(writer, step)
            writer.finish(0)
        assert "cannot be removed" in caplog.text
        in_the_way.unlink()
        assert read_chosen(tmp_path).step == 2
        write(writer, 3)
        writer.finish()
        assert manager.all_steps() == [3]


def test_a_run_that_is_left_while_saving_fails_does_not_say_that_nothing_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the evaluation after a checkpoint for which the disk had no room."""
    monkeypatch.setattr(CheckpointWriter.finish, "__defaults__", (0.0,))  # patience

    def leave() -> None:
        with small_files(), CheckpointWriter(manager, 9) as writer:
            write(writer, 1)
            raise Left("in the evaluation")

    with checkpoints.open_manager(tmp_path, keep=2) as manager:
        with pytest.raises(UserError, match="cannot be written"), leaves_when_asked(30, Console()):
            leave()
        assert not manager.all_steps()
    assert "nothing is lost" not in capsys.readouterr().out


def test_a_failure_is_one_line_and_is_made_good(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with checkpoints.open_manager(tmp_path, keep=9) as manager, CheckpointWriter(manager, 3) as writer:
        write(writer, 1)
        writer.finish()
        with small_files():
            write(writer, 2)
            wait(lambda: len(caplog.records) == 1)
            writer.check()
        wait(lambda: len(caplog.records) == 2)
        writer.check()
        write(writer, 3)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert re.search(r"checkpoints/2: .*\(File too large\).*\bfailure 1\b.*\bfailed_saves=3\b", caplog.messages[0])
    assert "\n" not in caplog.messages[0]
    assert re.search(r"\bstep 2\b.*\btry [2-9]\b", caplog.messages[1])
    assert capfd.readouterr().err == ""
    for step in (1, 2, 3):
        assert read_chosen(tmp_path, step).average["step"] == step


def test_failures_in_a_row_end_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def run() -> None:
        with checkpoints.open_manager(tmp_path, keep=9) as manager, CheckpointWriter(manager, 2) as writer:
            for failures, step in enumerate((2, 3), 1):
                writer.check()
                write(writer, step)
                wait(lambda failures=failures: len(caplog.records) >= failures)  # type: ignore[misc]
            writer.check()

    with small_files(), pytest.raises(UserError, match=r"checkpoints/3: .*\b2 failures in a row\b.*\bfailed_saves\b"):
        run()
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_the_end_waits_and_then_gives_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def run() -> None:
        with checkpoints.open_manager(tmp_path, keep=9) as manager, CheckpointWriter(manager, 1) as writer:
            write(writer, 2)
            writer.finish(patience=0.2)

    with small_files(), pytest.raises(UserError, match=r"checkpoints/2: .*\bFile too large\b.*\bmake room\b"):
        run()
    assert len(caplog.records) == 1


def test_a_folder_that_vanishes_comes_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with checkpoints.open_manager(tmp_path, keep=9) as manager, CheckpointWriter(manager, 3) as writer:
        folder = tmp_path / "checkpoints"
        folder.rmdir()
        folder.touch()  # in its place, a file
        write(writer, 2)
        wait(lambda: len(caplog.records) == 1)
        folder.unlink()
        writer.finish(patience=LONG)
    assert read_chosen(tmp_path).step == 2


def test_a_disk_that_fills_and_is_freed_a_second_later_loses_nothing(
    full_disk: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with checkpoints.open_manager(full_disk, keep=1) as manager, CheckpointWriter(manager, 3) as writer:
        filling = full_disk / "more"
        filling.write_bytes(bytes(1 << 18))
        write(writer, 2)
        wait(lambda: len(caplog.records) == 1)
        time.sleep(1)
        assert len(caplog.records) == 1
        filling.unlink()
        started = time.monotonic()
        writer.finish(patience=LONG)
        assert time.monotonic() - started < LONG
    assert re.search(r"checkpoints/2: .*\(No space left on device\)", caplog.messages[0])
    assert re.search(r"\bstep 2\b.*\btry 2\b", caplog.messages[1])
    assert capfd.readouterr().err == ""
    assert read_chosen(full_disk).step == 2
    assert {path.name for path in (full_disk / "checkpoints").iterdir()} == {"2"}


def test_room_is_that_of_the_first_folder_that_exists(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    assert has_room(tmp_path / "a/b", free // 2)
    assert not has_room(tmp_path / "a/b", 2 * free)
