"""Leaving a run: at any place of the loop, by signals to this process, and in processes that must be ended."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from adatad_jax.config.fields import TrainConfig
from adatad_jax.data.loader import Loaded
from adatad_jax.errors import Exit, Left, UserError
from adatad_jax.training.evaluating import Evaluate
from adatad_jax.training.guards import StopIfNotFinite
from adatad_jax.training.leaving import SIGNALS, Leaving, leaves_when_asked
from adatad_jax.training.loop import Done, Hook, Place, run
from adatad_jax.training.optimizer import group_rates
from tests import records

QUIET = Console(quiet=True)


@pytest.fixture(autouse=True)
def handled_as_usual() -> Iterator[None]:
    """A run leaves ignored signals ignored, and what starts the tests (`nohup`, a shell's `&`) may ignore some."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def loads(count: int) -> Iterator[Loaded]:
    for _ in range(count):
        yield Loaded(None, 0, ())  # type: ignore[arg-type]


def count_step(state: Any, batch: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """The state is the number of steps; the loss of step 6 is not a number."""
    return state + 1, {"loss": np.array([np.nan if state == 6 else 1.0]), "grad_norm": np.array([1.0])}


class Saves(Hook):
    """Notes what it would save when the run is left."""

    def __init__(self) -> None:
        self.seen = list[int]()
        self.saved = list[tuple[Place, Any]]()

    def after_step(self, done: Done) -> None:
        self.seen.append(done.step)

    def leave(self, place: Place, state: Any) -> None:
        self.saved.append((place, state))


class Signals(Hook):
    """Sends this process a signal once it sees a step."""

    def __init__(self, step: int, number: signal.Signals = signal.SIGTERM) -> None:
        self.step, self.number = step, number

    def after_step(self, done: Done) -> None:
        if done.step == self.step:
            signal.raise_signal(self.number)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Gives SIGINT its default handler, which a process in the background lacks, and checks that all come back."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS)
def test_the_running_step_is_finished_and_saved(number: signal.Signals) -> None:
    """While step 3 is looked at, step 4 has started already: it is finished and counts."""
    saves = Saves()
    with pytest.raises(Left) as left, leaves_when_asked(30, QUIET) as leaving:
        run(count_step, 0, loads(9), 0, 3, [saves, Signals(3, number)], leaving)  # type: ignore[arg-type]
    assert saves.saved == [(Place(5, 1, 2), 5)]
    assert saves.seen == [0, 1, 2, 3, 4]
    assert left.value.code == Exit.CONTINUE == 75
    assert "step 5" in left.value.where


def test_a_run_that_waits_for_a_batch_leaves_at_once() -> None:
    def stuck() -> Iterator[Loaded]:
        yield from loads(2)
        signal.raise_signal(signal.SIGTERM)
        time.sleep(60)

    saves, started = Saves(), time.monotonic()
    with pytest.raises(Left), leaves_when_asked(30, QUIET) as leaving:
        run(count_step, 0, stuck(), 0, 3, [saves], leaving)  # type: ignore[arg-type]
    assert saves.saved == [(Place(2, 0, 2), 2)]
    assert time.monotonic() - started < 30


def test_a_run_that_has_not_begun_leaves_with_nothing_to_save() -> None:
    with pytest.raises(Left, match="before"), leaves_when_asked(30, QUIET):
        signal.raise_signal(signal.SIGHUP)
    with pytest.raises(KeyboardInterrupt), leaves_when_asked(30, QUIET):
        signal.raise_signal(signal.SIGINT)
    saves = Saves()

    def slow_start() -> Iterator[Loaded]:
        signal.raise_signal(signal.SIGTERM)
        yield from loads(1)

    with pytest.raises(Left), leaves_when_asked(30, QUIET) as leaving:
        run(count_step, 4, slow_start(), 4, 3, [saves], leaving)  # type: ignore[arg-type]
    assert not saves.saved


def test_an_evaluation_is_interrupted_and_done_again() -> None:
    """The evaluation after epoch 2 of 3 steps is."""

    def measure(params: Any) -> float:
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("goes on")

    class State(int):
        def averaged(self) -> None: ...

    def step(state: State, batch: Any) -> tuple[State, dict[str, np.ndarray]]:
        return State(state + 1), {"loss": np.ones(1), "grad_norm": np.ones(1)}

    train = TrainConfig(eval_from=2, epochs=3)
    with pytest.raises(Left, match=r"evaluation\b.*\b2\b"), leaves_when_asked(30, QUIET) as leaving:
        run(step, State(), loads(9), 0, 3, [Evaluate(train, measure, leaving)], leaving)  # type: ignore[arg-type]


def test_a_pause_is_finished_and_an_evaluation_after_it_does_not_start() -> None:
    done = []

    def save_and_evaluate(leaving: Leaving) -> None:
        leaving.start()
        signal.raise_signal(signal.SIGTERM)
        done.append("saved")
        with leaving.at_once("in the evaluation"):
            done.append("evaluated")

    with pytest.raises(Left), leaves_when_asked(30, QUIET) as leaving:
        save_and_evaluate(leaving)
    assert done == ["saved"]


def test_a_wish_that_python_drops_is_granted_at_the_next_place() -> None:
    """Python drops an exception of a finalizer, in which the handler of a signal may happen to run."""

    def leave_twice(leaving: Leaving) -> None:
        leaving.start()
        with leaving.at_once("in the evaluation"), suppress(Left):
            signal.raise_signal(signal.SIGTERM)
        with leaving.after_step(5):
            raise AssertionError("goes on")

    with pytest.raises(Left, match="step 5"), leaves_when_asked(30, QUIET) as leaving:
        leave_twice(leaving)


def test_a_bad_step_is_never_saved() -> None:
    """The 7th step has started when the signal comes, and its loss is read before anything is saved."""
    saves, guard = Saves(), StopIfNotFinite(group_rates(records.optimizer_config()), (), 0, QUIET)
    with pytest.raises(UserError, match=r"\bstep 7\b"), leaves_when_asked(30, QUIET) as leaving:
        run(count_step, 0, loads(9), 0, 3, [guard, saves, Signals(5)], leaving)  # type: ignore[arg-type]
    assert not saves.saved


def test_a_batch_that_cannot_be_loaded_ends_the_run_after_saving(caplog: pytest.LogCaptureFixture) -> None:
    def broken(after: int) -> Iterator[Loaded]:
        yield from loads(after)
        raise UserError("a.mp4: gone")

    saves = Saves()
    with pytest.raises(UserError, match=r"a\.mp4"), caplog.at_level("INFO"):
        run(count_step, 0, broken(after=4), 0, 3, [saves])  # type: ignore[arg-type]
    assert saves.saved == [(Place(4, 1, 1), 4)]
    assert saves.seen == [0, 1, 2, 3]
    assert "step 4 is saved" in caplog.text
    with pytest.raises(UserError, match=r"a\.mp4"):  # nothing has been learned since the start
        run(count_step, 4, broken(after=0), 4, 3, [saves])  # type: ignore[arg-type]
    assert len(saves.saved) == 1


def test_signals_that_a_process_ignores_stay_ignored() -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with leaves_when_asked(30, QUIET) as leaving:
            signal.raise_signal(signal.SIGHUP)
            assert leaving.asked is None
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_notice_of_preemption_counts_like_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orbax asks JAX's preemption service after every step; no signal reaches this process."""
    monkeypatch.setattr("orbax.checkpoint.multihost.reached_preemption", lambda step: step == 4)
    saves = Saves()
    with pytest.raises(Left, match="after step 4"), leaves_when_asked(30, QUIET) as leaving:
        run(count_step, 0, loads(6), 0, 6, [saves], leaving)
    assert [(place.step, state) for place, state in saves.saved] == [(4, 4)]
    assert leaving.asked is None


def test_a_thread_listens_to_no_signal() -> None:
    found = []

    def work() -> None:
        with leaves_when_asked(30, QUIET) as leaving:
            found.append((leaving.asked, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(None, signal.getsignal(signal.SIGTERM))]


# Each case is a child that hangs in C, where no handler of Python's runs: its main thread blocks the signals, so that
# they do not interrupt the call. It prints how the child ended, and after how many seconds.
HANGING = """
import ctypes, os, signal, sys, threading, time
from rich.console import Console
from adatad_jax.training.leaving import SIGNALS, leaves_when_asked

def case(name, grace, started, sent):
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with leaves_when_asked(grace, Console()) as leaving:
            if started:
                leaving.start()
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            threading.Timer(0.5, os.write, (writer, b"r")).start()  # by then the main thread is in C
            ctypes.CDLL(None).sleep(100)
        os._exit(1)
    os.read(reader, 1)
    begin = time.monotonic()
    for number in sent:
        os.kill(child, number)
        time.sleep(0.8)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(name, code, round(time.monotonic() - begin), flush=True)

TERM, INT = signal.SIGTERM, signal.SIGINT
case("late", 1.5, True, [TERM])
case("second", 60, True, [TERM, INT])
case("start", 60, False, [TERM])
case("ctrl-c", 60, False, [INT])
"""


def test_a_process_that_hangs_ends_in_time_and_a_second_signal_ends_it_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGING],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "XLA_FLAGS": "", "PYTHONWARNINGS": "ignore"},
    )
    assert all(len(line.split()) == 3 for line in done.stdout.splitlines()), done.stdout
    ends = {name: (int(code), int(seconds)) for name, code, seconds in map(str.split, done.stdout.splitlines())}
    assert {name: code for name, (code, _) in ends.items()} == {"late": 75, "second": 75, "start": 75, "ctrl-c": 130}
    assert all(seconds < 30 for _, seconds in ends.values())
    # XLA may say something, too.
    said = [line for line in done.stderr.splitlines() if line.startswith(("left", "interrupted"))]
    assert len(said) == 4, done.stderr
    late, second, start, interrupted = said
    assert "1.5 s" in late
    assert "SIGINT" in second
    assert "first step" in start
    assert interrupted == "interrupted"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_run_is_interrupted_again_where_python_drops_what_the_signal_raised() -> None:
    """As in callbacks of the garbage collector, which run at any time."""

    class Collected:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    def evaluates() -> None:
        with leaves_when_asked(20, QUIET) as leaving:
            leaving.start()
            with leaving.at_once("in the evaluation"):
                found = Collected()
                del found
                assert leaving.asked is signal.SIGTERM
                time.sleep(15)

    start = time.monotonic()
    with pytest.raises(Left, match="in the evaluation"):
        evaluates()
    assert time.monotonic() < start + 10
