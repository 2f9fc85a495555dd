"""Trainings in processes of their own, which are watched and struck by signals at chosen moments."""

import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.kills.watched import EVALUATION, NOTES, SAVE, SETUP, STARTING, STEPS

STRUCK = (SETUP, STEPS, SAVE, EVALUATION)
MOST_STEPS = 6  # that a process takes before it is struck in a step
POLL = 0.002  # seconds
FIRST_SETUP = 10.0  # seconds before the first step, as long as no process has come so far
WRITING = 0.3  # seconds that a checkpoint may be written after the training has gone on
LIMIT = 300.0  # seconds in which a process must end once it was struck


class Moment(NamedTuple):
    """When a process is struck, and how.

    Attributes:
      signal: SIGKILL or SIGTERM.
      phase: it is struck in this phase, once it has taken so many `steps`; SETUP: at any time before the first step.
      steps: number of steps.
      share: how much of the phase passes first, of what it mostly takes, in [0, 1).
    """

    signal: signal.Signals
    phase: str
    steps: int
    share: float


class Struck(NamedTuple):
    """What a signal did.

    Attributes:
      moment: when it was planned; None: the process ended by itself.
      phase: where the process was.
      code: its exit code; negative: the signal that ended it.
      seconds: from the signal to its end.
      again: number of steps that the next start computes again.
      said: the last line that it printed.
    """

    moment: Moment | None
    phase: str
    code: int
    seconds: float
    again: int
    said: str


class Training:
    """A folder that one command trains in, again and again until it is done."""

    def __init__(self, folder: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """Starts nothing yet.

        Args:
          folder: of the run; notes and output lie beside it.
          arguments: of `adatad`: a command that trains, and its arguments without the folder.
          environment: of the processes.
        """
        self.folder, self.output = folder, folder.with_suffix(".txt")
        self._notes, self._environment = folder.with_suffix(".notes"), dict(environment)
        self._setup = FIRST_SETUP
        module = "benchmarks.kills.watched"
        self._command = [sys.executable, "-m", module, str(self._notes), *arguments, "--workdir", str(folder)]

    def saved(self) -> int:
        """Returns the number of steps in the newest whole checkpoint; 0 if there is none."""
        folder = self.folder / "checkpoints"
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        return max((int(name) for name in names if name.isdigit()), default=0)

    def start(self, moment: Moment | None, spans: Mapping[str, float]) -> Struck:
        """Starts a process, and strikes it if it has not ended before.

        Args:
          moment: when; None: never.
          spans: phase -> seconds that it mostly takes.
        """
        before = self.saved()
        with self._process() as process:
            if moment is not None:
                self._wait(process, moment, spans)
            phase, clock = self._phase(), time.monotonic()
            if moment is not None and process.poll() is None:
                process.send_signal(moment.signal)
            else:
                moment = None
            code = process.wait(LIMIT if moment else None)
        seconds = time.monotonic() - clock
        again = before + self._note()[1] - self.saved()
        lines = self.output.read_text(errors="replace").splitlines()
        return Struck(moment, phase, code, seconds, again, lines[-1].strip() if lines else "")

    def measure(self) -> tuple[int, dict[str, float]]:
        """Trains to the end without a strike; returns the exit code, and the seconds of one stay in each phase."""
        stays, last, clock = defaultdict[str, list[float]](list), STARTING, time.monotonic()
        with self._process() as process:
            while process.poll() is None:
                time.sleep(POLL)
                if (phase := self._note()[0]) != last:
                    stays[last].append(time.monotonic() - clock)
                    last, clock = phase, time.monotonic()
            return process.wait(), {phase: sorted(times)[len(times) // 2] for phase, times in stays.items()}

    @contextmanager
    def _process(self) -> Iterator[subprocess.Popen[bytes]]:
        """Starts the command; kills its process at the end of the block."""
        self._notes.write_bytes(NOTES.pack(STARTING.encode(), 0))
        with self.output.open("ab") as output:
            process = subprocess.Popen(self._command, stdout=output, stderr=output, env=self._environment)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def _wait(self, process: subprocess.Popen[bytes], moment: Moment, spans: Mapping[str, float]) -> None:
        """Waits for a moment, or for the end of the process."""
        started = time.monotonic()
        if moment.phase == SETUP:
            span = self._setup
        else:
            span = spans.get(moment.phase, 0.0) + WRITING * (moment.phase == SAVE)
            started = self._await(process, lambda phase, steps: phase == moment.phase and steps >= moment.steps)
        while process.poll() is None and time.monotonic() < started + moment.share * span:
            time.sleep(POLL)
        # Checkpoints are written while steps go on, but a step is to be struck by itself, too.
        while process.poll() is None and moment.phase == STEPS and self._phase() != STEPS:
            time.sleep(POLL)

    def _await(self, process: subprocess.Popen[bytes], reached: Callable[[str, int], bool]) -> float:
        """Waits until a place is reached, or for the end of the process; returns the time."""
        started, is_setup = time.monotonic(), True
        while process.poll() is None:
            phase, steps = self._note()
            if is_setup and steps:
                self._setup, is_setup = time.monotonic() - started, False
            if reached(phase, steps):
                break
            time.sleep(POLL)
        return time.monotonic()

    def _phase(self) -> str:
        """Returns the phase of the process, where a checkpoint that is written in the background counts as a save."""
        phase, _ = self._note()
        return SAVE if phase == STEPS and any((self.folder / "checkpoints").glob("*tmp*")) else phase

    def _note(self) -> tuple[str, int]:
        """Returns the phase of the process, and the number of steps that it has started."""
        phase, steps = NOTES.unpack(self._notes.read_bytes())
        return phase.rstrip(b"\0").decode(), steps


def draw_moments(kills: int, terms: int, rng: random.Random) -> list[Moment]:
    """Draws moments in random order: for either signal, all of `STRUCK` about equally often."""
    drawn = []
    for number, count in ((signal.SIGKILL, kills), (signal.SIGTERM, terms)):
        for index in range(count):
            phase = STRUCK[index % len(STRUCK)]
            steps = rng.randint(1, MOST_STEPS) if phase == STEPS else 0
            drawn.append(Moment(number, phase, steps, rng.random()))
    rng.shuffle(drawn)
    return drawn
