"""Samples are taken in turns, wait for an idle machine, and never for ever."""

import subprocess
import sys
import time

import pytest

from benchmarks.run.sampling import LOOK, QUIET, SAMPLE_PATIENCE, Idle, Load, alternate


class Script(Load):
    """A load that follows a list of shares, and then stays at the last one."""

    def __init__(self, *shares: float) -> None:
        self.shares = list(shares)

    def restart(self) -> None:
        pass

    def others(self) -> float:
        return self.shares.pop(0) if len(self.shares) > 1 else self.shares[0]


class Machine:
    """A machine whose clock runs only while someone sleeps or works."""

    def __init__(self, patience: float, *shares: float) -> None:
        self.now = 0.0
        self.idle = Idle(patience, Script(*shares), self.spend, lambda: self.now)

    def spend(self, seconds: float) -> None:
        self.now += seconds

    def work(self, seconds: float) -> float:
        self.spend(seconds)
        return seconds


BUSY, FREE = 3 * QUIET, QUIET / 3


def test_an_idle_machine_is_not_waited_for() -> None:
    machine = Machine(100, FREE)
    assert machine.idle.sample(lambda: machine.work(2)) == (2, True)
    assert machine.now == pytest.approx(LOOK + 2)
    assert machine.idle.patience == 100


def test_other_work_is_waited_for() -> None:
    machine = Machine(100, BUSY, BUSY, FREE)
    assert machine.idle.wait()
    assert machine.now == pytest.approx(3 * LOOK)
    assert machine.idle.patience == pytest.approx(100 - 2 * LOOK)


def test_waiting_for_a_sample_ends() -> None:
    machine = Machine(1000, BUSY)
    assert not machine.idle.wait()
    assert machine.now == pytest.approx(SAMPLE_PATIENCE, abs=2 * LOOK)


def test_all_waiting_ends() -> None:
    machine = Machine(50, BUSY)
    assert [machine.idle.sample(lambda: machine.work(1)) for _ in range(20)] == [(1, False)] * 20
    assert machine.now < 50 + 20 * (1 + 2 * LOOK) + 1


def test_a_disturbed_sample_is_taken_again() -> None:
    machine = Machine(100, FREE, BUSY, FREE, FREE)  # before, during; before, during
    taken = [5.0, 2.0]
    assert machine.idle.sample(lambda: machine.work(taken.pop(0))) == (2, True)
    assert machine.idle.patience == pytest.approx(95)


def test_turns() -> None:
    machine, order = Machine(0, FREE), list[tuple[str, int]]()

    def calls(name: str, seconds: float, count: int) -> float:
        order.append((name, count))
        return machine.work(seconds * count)

    sides = {"a": lambda count: calls("a", 0.05, count), "b": lambda count: calls("b", 1.0, count)}
    found = alternate(sides, 2, machine.idle, {"a": 0.05, "b": 1.0})
    assert order == [("a", 4), ("b", 1)] * 2  # a sample lasts 0.2 s at least
    assert found["a"].seconds == pytest.approx([0.05, 0.05])
    assert not found["b"].remark


def test_disturbed_samples_are_said() -> None:
    machine = Machine(0, BUSY)
    found = alternate({"a": machine.work}, 3, machine.idle, {"a": 1.0})
    assert "3 of 3" in found["a"].remark


def test_load_is_that_of_other_processes() -> None:
    load = Load()
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.5)
        load.restart()
        end = time.perf_counter() + 0.5
        while time.perf_counter() < end:  # this process works too
            pass
        cores = len(load._cores)
        assert 0.1 / cores < load.others() <= 1.01
    finally:
        other.kill()
        other.wait()
