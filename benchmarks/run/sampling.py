"""Samples of time, taken in turns while the machine is otherwise idle."""

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import psutil

LEAST_SECONDS = 0.2  # of a sample: shorter calls are repeated within it
QUIET = 0.1  # share of the cores that other processes may use
LOOK = 0.3  # seconds over which their use is measured before a sample
JUDGED = 0.5  # seconds of a sample during which it is measured too: the system counts in hundredths
SAMPLE_PATIENCE = 30.0  # seconds that one sample is waited for


class Load:
    """The use of this process's cores by other processes."""

    def __init__(self) -> None:
        """Starts to measure."""
        affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
        self._cores = sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))
        self.restart()

    def restart(self) -> None:
        """Measures from now on."""
        self._busy, self._own, self._clock = self._read_busy(), self._read_own(), time.perf_counter()

    def others(self) -> float:
        """Returns the share of the cores that other processes have used since the start."""
        used = self._read_busy() - self._busy - (self._read_own() - self._own)
        return max(0.0, used / (len(self._cores) * max(time.perf_counter() - self._clock, 1e-9)))

    def _read_busy(self) -> float:
        """Returns the seconds that the cores have worked for anyone."""
        total = 0.0
        for core, times in enumerate(psutil.cpu_times(percpu=True)):
            if core in self._cores:
                idle = times.idle + getattr(times, "iowait", 0.0) + getattr(times, "guest", 0.0)
                total += sum(times) - idle - getattr(times, "guest_nice", 0.0)
        return total

    def _read_own(self) -> float:
        """Returns the seconds that they have worked for this process."""
        times = psutil.Process().cpu_times()
        return float(times.user + times.system)


@dataclass
class Idle:
    """Waits until the machine is otherwise idle: for a while before each sample, and for so long in all.

    Attributes:
      patience: seconds left of all waiting, and of samples that were thrown away.
      load: what is asked.
      sleep, clock: of the system.
    """

    patience: float
    load: Load = field(default_factory=Load)
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.perf_counter

    def wait(self) -> bool:
        """Waits; returns whether the machine is idle now."""
        start, limit = self.clock(), min(SAMPLE_PATIENCE, self.patience)
        while True:
            self.load.restart()
            self.sleep(LOOK)
            quiet = self.load.others() <= QUIET
            waited = self.clock() - start
            if quiet or waited >= limit:
                self.patience -= max(0.0, waited - LOOK)
                return quiet

    def sample(self, measure: Callable[[], float]) -> tuple[float, bool]:
        """Takes a sample while the machine is idle, again if it was not meanwhile and patience is left.

        Args:
          measure: returns a time, in seconds.

        Returns:
          The sample, and whether nothing disturbed it.
        """
        while True:
            quiet = self.wait()
            self.load.restart()
            start = self.clock()
            seconds = measure()
            spent = self.clock() - start
            quiet = quiet and (spent < JUDGED or self.load.others() <= QUIET)
            if quiet or self.patience < spent:
                return seconds, quiet
            self.patience -= spent


class Samples:
    """Samples of one function, in seconds, and the number of those that other processes disturbed."""

    def __init__(self) -> None:
        """Starts with none."""
        self.seconds: list[float] = []
        self.disturbed = 0

    def add(self, sample: tuple[float, bool]) -> None:
        """Adds a sample of `Idle.sample`."""
        self.seconds.append(sample[0])
        self.disturbed += not sample[1]

    @property
    def remark(self) -> str:
        """Returns what disturbed the samples, in words; empty: nothing did."""
        return f"{self.disturbed} of {len(self.seconds)} samples beside other work" if self.disturbed else ""


def alternate(
    functions: Mapping[str, Callable[[int], float]],
    turns: int,
    idle: Idle,
    expected: Mapping[str, float],
    tick: Callable[[], None] = lambda: None,
) -> dict[str, Samples]:
    """Takes samples of functions in turns: A B A B.

    Args:
      functions: name -> what makes so many calls and returns the seconds they took.
      turns: number of samples of each.
      idle: when samples are taken.
      expected: name -> seconds of a call, to choose the calls of a sample.
      tick: called after every sample.

    Returns:
      Name -> samples, in seconds per call.
    """
    found = {name: Samples() for name in functions}
    calls = {name: max(1, math.ceil(LEAST_SECONDS / max(expected[name], 1e-6))) for name in functions}
    for _ in range(turns):
        for name, function in functions.items():
            found[name].add(idle.sample(lambda f=function, n=calls[name]: f(n) / n))  # type: ignore[misc]
            tick()
    return found
