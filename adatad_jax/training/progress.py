"""Progress of a training for a person who looks on: a bar on a terminal, else a line per minute."""

import time
from collections.abc import Sequence

import jax
import numpy as np
from rich.console import Console
from rich.progress import Progress

from adatad_jax.devices.memory import GIB, Memory, memory_used
from adatad_jax.training.loop import Done, Hook
from adatad_jax.training.meter import Meter

LINE_EVERY = 60.0  # seconds
WIDE = 92  # columns from which the bar has room for the learning rate


class ShowProgress(Hook):
    """Updates the progress bar."""

    def __init__(self, bar: Progress, meter: Meter, rates: np.ndarray, steps_per_epoch: int, shift: int = 0) -> None:
        """Adds the training to the bar.

        Args:
          bar: from `console.progress_bar`.
          meter: an earlier hook.
          rates: `[steps]` learning rates of all steps.
          steps_per_epoch: of the run.
          shift: epoch e begins at step `e * steps_per_epoch - shift`.
        """
        self._bar, self._meter, self._rates = bar, meter, rates
        self._steps_per_epoch, self._shift = steps_per_epoch, shift
        self._task = bar.add_task("training", total=len(rates), completed=meter.step, status="compiling the step")

    def after_step(self, done: Done) -> None:
        status = f"{done.step + 1}/{len(self._rates)} loss {done.metrics['loss']:.2f}"
        if self._bar.console.width >= WIDE:
            status += f" rate {self._rates[done.step]:.0e}"
        if (speed := self._meter.frames_per_second) is not None and (waiting := self._meter.waiting) is not None:
            status += f" {speed:.0f} fps wait {100 * waiting:.0f}%"
        epoch = f"epoch {(done.step + self._shift) // self._steps_per_epoch + 1}"
        self._bar.update(self._task, advance=1, description=epoch, status=status, left=self._meter.left)


class PrintProgress(Hook):
    """Prints a line after the first step and then at most one per minute, for files and batch jobs."""

    def __init__(
        self,
        console: Console,
        meter: Meter,
        rates: np.ndarray,
        steps_per_epoch: int,
        devices: Sequence[jax.Device],
        shift: int = 0,
        every: float = LINE_EVERY,
    ) -> None:
        """Prepares to print.

        Args:
          console: where to print.
          meter: an earlier hook.
          rates: `[steps]` learning rates of all steps.
          steps_per_epoch: of the run.
          devices: whose memory is shown.
          shift: epoch e begins at step `e * steps_per_epoch - shift`.
          every: least seconds between two lines.
        """
        self._console, self._meter, self._rates = console, meter, rates
        self._steps_per_epoch, self._shift = steps_per_epoch, shift
        self._devices, self._every, self._printed = devices, every, -float("inf")

    def after_step(self, done: Done) -> None:
        now = time.monotonic()
        if now - self._printed < self._every:
            return
        self._printed = now
        step, meter = done.step + 1, self._meter
        parts = [
            f"step {step}/{len(self._rates)}",
            f"epoch {(done.step + self._shift) // self._steps_per_epoch + 1}",
            f"loss {done.metrics['loss']:.4f}",
            f"rate {self._rates[done.step]:.2e}",
        ]
        if (speed := meter.frames_per_second) is not None and (waiting := meter.waiting) is not None:
            parts += [f"{speed:.4g} frames/s", f"waiting for data {100 * waiting:.0f}%"]
        else:
            parts.append(f"first step {done.seconds:.1f} s, with its compilation")
        parts.append(memory_text(memory_used(self._devices)))
        if (left := meter.left) is not None:
            parts.append(f"ETA {duration(left)}")
        self._console.print("  ".join(parts))


def memory_text(memory: Memory) -> str:
    """Formats memory in GiB, as far as it is known."""
    text = f"host {memory.host / GIB:.1f} GiB"
    if memory.device is not None:
        text += f"  device {memory.device / GIB:.1f}"
        text += f" of {memory.limit / GIB:.1f} GiB" if memory.limit else " GiB"
    return text


def duration(seconds: float) -> str:
    """Formats seconds as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
