"""The values of every step of a run, one line of JSON per step in `steps.jsonl`."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from adatad_jax.files import write_text
from adatad_jax.training.loop import Done, Hook

STEPS_FILE = "steps.jsonl"
DIGITS = 6  # significant ones
_logger = logging.getLogger(__name__)


class LogSteps(Hook):
    """Adds a line after every step. A step whose line is missing was never in a checkpoint: lines are written at once.

    A disk that is full costs nothing: a warning says so, once, and the lines follow when there is room.
    """

    def __init__(
        self, workdir: Path, first: int, rates: Mapping[str, np.ndarray], steps_per_epoch: int, shift: int = 0
    ) -> None:
        """Removes the lines of the steps that will be taken again.

        Args:
          workdir: the run's folder, which exists.
          first: number of steps taken before.
          rates: group of parameters -> `[steps]` learning rates of all steps.
          steps_per_epoch: of the run.
          shift: epoch e begins at step `e * steps_per_epoch - shift`.

        Raises:
          UserError: the file cannot be written.
        """
        self._path, self._rates = workdir / STEPS_FILE, rates
        self._steps_per_epoch, self._shift = steps_per_epoch, shift
        self._pending, self._warned = b"", False
        if self._path.exists():
            kept = [line for line in _read_lines(self._path) if line["step"] <= first]
            write_text(self._path, "".join(json.dumps(line) + "\n" for line in kept))

    def after_step(self, done: Done) -> None:
        rates = {f"rate_{group}": rates[done.step] for group, rates in self._rates.items()}
        epoch = (done.step + 1 + self._shift) / self._steps_per_epoch
        values = {"epoch": epoch, **done.metrics, **rates, "seconds": done.seconds, "waited": done.waited}
        line = {"step": done.step + 1, **{name: _rounded(value) for name, value in values.items()}}
        self._pending += json.dumps(line).encode() + b"\n"
        try:
            with self._path.open("ab", buffering=0) as file:
                self._pending = self._pending[file.write(self._pending) :]
        except OSError as error:
            if not self._warned:
                self._warned = True
                _logger.warning("%s: cannot be written (%s); tried again after each step", self._path, error.strerror)


def _rounded(value: float) -> float | None:
    """Returns a value as JSON can hold it: null for one that is not finite."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def read_steps(workdir: Path) -> dict[str, np.ndarray]:
    """Reads the values of all steps of a run.

    Returns:
      name -> `[N]` float64, `step` (the number of steps taken, from 1) among them; NaN where a step lacks a value.
    """
    path = workdir / STEPS_FILE
    lines = _read_lines(path) if path.exists() else []
    names = list(dict.fromkeys(name for line in lines for name in line))
    return {name: np.array([line.get(name, np.nan) for line in lines], np.float64) for name in names}


def last_step(workdir: Path) -> int:
    """Returns the number of the last step in the log; 0 if there is none."""
    steps: Sequence[float] = read_steps(workdir).get("step", np.zeros(0)).tolist()
    return int(max(steps, default=0))


def _read_lines(path: Path) -> list[dict[str, float]]:
    """Reads the lines that are whole, one per step, in order; of a step that is there twice, the later line."""
    found: dict[int, dict[str, float]] = {}
    for text in path.read_bytes().split(b"\n"):
        try:
            line = json.loads(text)
            found[int(line["step"])] = line
        except (ValueError, KeyError, TypeError):  # cut short by a kill or a crash of the machine
            continue
    return [found[step] for step in sorted(found)]
