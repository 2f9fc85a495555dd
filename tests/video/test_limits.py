"""Time limits, tested on real hangs: a named pipe that nobody writes to blocks FFmpeg in C code as it opens."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import av
import pytest

from adatad_jax.errors import UserError
from adatad_jax.video import limits
from adatad_jax.video.limits import map_in_processes, within

SOON = 30.0  # seconds, enough on a loaded machine; a hang would last for ever


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    os.mkfifo(path)
    return path


def open_with_ffmpeg(path: Path) -> str:
    with av.open(str(path)) as container:
        return container.format.name


def let_go(path: Path) -> None:
    """Ends the hang of every reader of the pipe: opens and closes the pipe, so that readers find it empty."""
    with suppress(OSError):  # nobody has opened it yet
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))


def reading(path: Path) -> list[threading.Thread]:
    """Returns the threads of `within` that still read a file."""
    return [thread for thread in threading.enumerate() if thread.name == f"reads {path}"]


def end_reading(path: Path) -> None:
    """Ends the threads that read the pipe; a slow machine's threads may not have opened it yet."""
    start = time.monotonic()
    while reading(path):
        assert time.monotonic() - start < SOON
        let_go(path)
        time.sleep(0.01)


# ---- threads ----


def test_a_result_and_an_exception_come_through() -> None:
    assert within(SOON, "a.mp4", lambda: 6 * 7) == 42

    class Odd(Exception):
        pass

    def fails() -> None:
        raise Odd("as it was", 3)

    with pytest.raises(Odd, match="as it was") as raised:
        within(SOON, "a.mp4", fails)
    assert raised.value.args == ("as it was", 3)
    assert raised.traceback[-1].name == "fails"


def test_a_hanging_read_is_left_behind_and_named(pipe: Path) -> None:
    start = time.monotonic()
    with pytest.raises(UserError, match=r"clip\.mp4: .*\b0\.2 s\b.*--config\.data\.time_limit"):
        within(0.2, str(pipe), lambda: open_with_ffmpeg(pipe))
    assert 0.2 <= time.monotonic() - start < SOON
    assert len(reading(pipe)) == 1
    assert within(SOON, "next.mp4", lambda: "goes on") == "goes on"
    assert len(reading(pipe)) == 1
    end_reading(pipe)


def test_many_that_hang_are_not_added_to(pipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_STUCK", 2)
    monkeypatch.setattr(limits, "_stuck", {})
    for _ in range(2):
        with pytest.raises(UserError, match=r"clip\.mp4: .*\b0\.05 s\b"):
            within(0.05, str(pipe), lambda: open_with_ffmpeg(pipe))
    with pytest.raises(UserError, match=r"next\.mp4: .*\b2 earlier reads\b.*clip\.mp4"):
        within(SOON, "next.mp4", lambda: 1)
    start = time.monotonic()
    while limits._stuck:
        assert time.monotonic() - start < SOON
        let_go(pipe)
        try:
            assert within(SOON, "next.mp4", lambda: 1) == 1
        except UserError:
            time.sleep(0.01)


def run_script(code: str, *arguments: object) -> tuple[subprocess.CompletedProcess, float]:
    """Runs a program; returns its outcome and how many seconds it took."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    return done, time.monotonic() - start


READS = """
import sys, time, av
from adatad_jax.video.limits import within
from adatad_jax.errors import UserError
def read(seconds):
    try:
        within(seconds, sys.argv[1], lambda: av.open(sys.argv[1]))
    except UserError as error:
        print("told:", error)
"""


def test_a_program_ends_with_its_exit_code_while_a_read_hangs(pipe: Path) -> None:
    done, took = run_script(READS + "read(0.2)\nsys.exit(7)", pipe)
    assert (done.returncode, done.stderr) == (7, "")
    assert re.search(r"told: .*clip\.mp4: .*\b0\.2 s\b", done.stdout)
    assert took < SOON


def test_a_program_ends_while_threads_of_grain_wait_for_a_hanging_read(pipe: Path) -> None:
    code = """
import grain
stream = iter(grain.MapDataset.range(8).map(lambda _: read(300)).to_iter_dataset(grain.ReadOptions(2, 4)))
import threading
from adatad_jax.video import limits
threading.Thread(target=next, args=(stream,), daemon=True).start()
while not limits._waiting:
    time.sleep(0.01)
sys.exit(7)
"""
    done, took = run_script(READS + code, pipe)
    assert done.returncode == 7
    assert took < 3 * SOON


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Makes SIGINT raise `KeyboardInterrupt`, which processes started in the background otherwise ignore."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_the_wait(pipe: Path) -> None:
    def interrupt() -> str:  # called inside the wait, so that the signal cannot come before it
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)
        return open_with_ffmpeg(pipe)

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        within(2 * SOON, str(pipe), interrupt)
    assert time.monotonic() - start < SOON
    end_reading(pipe)


# ---- processes ----


def act(item: tuple[str, object]) -> object:
    """Does in a worker what the item says."""
    action, value = item
    if action == "hang":
        return open_with_ffmpeg(Path(str(value)))
    if action == "refuse":
        raise UserError(f"{value}: refused")
    if action == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if action == "fail":
        raise KeyError(value)
    if action == "process":
        return os.getpid(), sorted(sys.modules)
    if action == "wait":
        while not Path(str(value)).exists():
            time.sleep(0.01)
        return value
    time.sleep(float(str(value)))
    return value


def named(item: tuple[str, object]) -> str:
    return str(item[1])


def children() -> set[int]:
    """Returns the ids of this process's child processes, zombies included."""
    out = subprocess.run(["ps", "-eo", "pid=,ppid=,comm="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in out.splitlines()]
    return {int(pid) for pid, parent, command, *_ in rows if int(parent) == os.getpid() and command != "ps"}


def test_each_item_is_done_in_a_process_that_is_killed_at_the_limit(pipe: Path) -> None:
    before = children()
    items = [("sleep", 0.01), ("hang", pipe), ("refuse", "b.mp4"), ("crash", "c.mp4"), ("sleep", 0.02), ("hang", pipe)]
    start = time.monotonic()
    done = list(map_in_processes(act, items, workers=2, limit=1.0, name=named))
    assert time.monotonic() - start < 3 * SOON
    assert sorted(map(str, (item for item, _ in done))) == sorted(map(str, items))
    results = {str(item): outcome for item, outcome in done}
    assert [results[str(items[place])] for place in (0, 4)] == [0.01, 0.02]
    for place, told in (
        (1, r"clip\.mp4: .*\b1 s\b.*--config\.data\.time_limit"),
        (2, r"b\.mp4: refused"),
        (3, r"c\.mp4: .*\bdied\b.*\bSIGSEGV\b"),
    ):
        outcome = results[str(items[place])]
        assert isinstance(outcome, UserError)
        assert re.search(told, str(outcome))
    assert not children() - before


def test_results_come_as_they_are_done(tmp_path: Path) -> None:
    """The first item ends only after the result of the second has come."""
    done = tmp_path / "done"
    results = map_in_processes(act, [("wait", done), ("sleep", 0.0)], workers=2, limit=SOON)
    assert next(results)[1] == 0.0
    done.touch()
    assert [outcome for _, outcome in results] == [done]
    assert list(map_in_processes(act, [], workers=2, limit=SOON)) == []


def test_a_worker_is_used_again_and_is_not_this_process() -> None:
    ((_, first), (_, second)) = map_in_processes(act, [("process", 0)] * 2, workers=1, limit=SOON)
    assert isinstance(first, tuple)
    assert isinstance(second, tuple)
    assert first[0] == second[0] != os.getpid()
    assert "jax" not in first[1], "workers would take long to start"


def test_other_exceptions_keep_their_type_and_say_where() -> None:
    before = children()
    with pytest.raises(KeyError, match=r"the key") as raised:
        list(map_in_processes(act, [("fail", "the key"), ("sleep", 60)], workers=2, limit=120))
    assert any("in act" in note for note in raised.value.__notes__)
    assert not children() - before


def test_leaving_early_kills_the_workers(pipe: Path) -> None:
    before = children()
    results = map_in_processes(act, [("sleep", 0), ("hang", pipe), ("hang", pipe)], workers=3, limit=600)
    assert next(results) == (("sleep", 0), 0)
    assert children() - before
    results.close()  # type: ignore[attr-defined]
    assert not children() - before


def test_senseless_calls_are_refused() -> None:
    with pytest.raises(ValueError, match=r"worker.*\b0\b"):
        next(map_in_processes(act, [1], workers=0, limit=1))
    done, _ = run_script(
        "from adatad_jax.video.limits import map_in_processes\n"
        "def act(item): pass\n"
        "next(map_in_processes(act, [1], 1, 1))"
    )
    assert re.search(r"ValueError: .*\bact\b.*main module", done.stderr)


MAPS = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
from adatad_jax.video import limits
from tests.video.test_limits import act
limits.GRACE = 1.0
items = [("process", 0), *[("hang", sys.argv[1])] * 2]
for item, outcome in limits.map_in_processes(act, items, 2, float(sys.argv[2])):
    print(outcome[0], flush=True)
"""


def start_mapping(pipe: Path, limit: float) -> tuple[subprocess.Popen, int]:
    """Starts a program whose workers hang after one has answered; returns the program and that worker's process id."""
    program = subprocess.Popen(
        [sys.executable, "-c", MAPS, str(pipe), str(limit)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    return program, int(program.stdout.readline())


def is_gone(process: int, within_seconds: float) -> bool:
    """Waits for a process to end; returns whether it did in time."""
    end = time.monotonic() + within_seconds
    while time.monotonic() < end:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_ctrl_c_ends_the_program_and_its_workers(pipe: Path) -> None:
    program, worker = start_mapping(pipe, 600)
    start = time.monotonic()
    program.send_signal(signal.SIGINT)
    _, said = program.communicate(timeout=2 * SOON)
    assert time.monotonic() - start < SOON
    assert program.returncode == -signal.SIGINT
    assert said.count("KeyboardInterrupt") == 1, "workers should say nothing"
    assert is_gone(worker, SOON)


def test_workers_end_by_themselves_if_the_program_is_killed(pipe: Path) -> None:
    program, worker = start_mapping(pipe, 1.0)
    program.kill()
    program.communicate(timeout=2 * SOON)
    assert is_gone(worker, SOON)
