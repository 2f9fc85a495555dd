"""What a run of the benchmark measures on, and how far it is."""

import importlib.util
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import jax
import psutil
from rich.console import Console
from rich.progress import Progress, TaskID

from adatad_jax.console import progress_bar
from adatad_jax.devices.memory import memory_available
from adatad_jax.errors import UserError
from benchmarks.run.sampling import Idle


class Advance:
    """A progress bar with the time left on a terminal's standard error, or a line per piece of work elsewhere."""

    def __init__(self, bar: Progress, task: TaskID, console: Console, expected: float) -> None:
        """Starts.

        Args:
          bar, task: on a terminal.
          console: of standard error.
          expected: seconds of the whole run.
        """
        self._bar, self._task, self._console = bar, task, console
        self._expected, self._done, self._start = expected, 0.0, time.perf_counter()

    @contextmanager
    def piece(self, name: str, seconds: float) -> Iterator[None]:
        """Shows a piece of work that is expected to take so long, until the block ends."""
        left = self._left()
        self._bar.update(self._task, status=name, left=left)
        if not self._console.is_terminal:
            self._console.print(f"{name}; about {left / 60:.0f} min left")
        yield
        self._done = min(self._expected, self._done + seconds)
        self._bar.update(self._task, completed=self._done, left=self._left())

    def _left(self) -> float:
        """Returns the seconds that are left, at the pace so far."""
        spent = time.perf_counter() - self._start
        pace = spent / self._done if self._done > 0.1 * self._expected else 1.0
        return max(0.0, self._expected - self._done) * pace


@contextmanager
def advancing(expected: float) -> Iterator[Advance]:
    """Shows the progress of work that is expected to take so many seconds, on standard error."""
    console = Console(stderr=True, markup=False, highlight=False)
    with progress_bar(console) as bar:
        yield Advance(bar, bar.add_task("benchmark", total=expected, status=""), console, expected)


class Context(NamedTuple):
    """What a run of the benchmark measures on.

    Attributes:
      device: that computes on our side.
      quick: whether only a few samples of the smallest work are taken.
      sizes: of the models, of which the whole run measures all that fit.
      threads: of either side.
      no_torch: why PyTorch cannot be measured; empty if it can.
      idle: when samples are taken.
      advance: the progress.
    """

    device: jax.Device
    quick: bool
    sizes: tuple[str, ...]
    threads: int
    no_torch: str
    idle: Idle
    advance: Advance

    @property
    def is_gpu(self) -> bool:
        """Tells whether a GPU computes."""
        return bool(self.device.platform != "cpu")

    @property
    def has_torch(self) -> bool:
        """Tells whether PyTorch is measured."""
        return not self.no_torch

    @property
    def dtype(self) -> str:
        """Returns the dtype of matrix products: that of parity on a CPU, that of published runs on a GPU."""
        return "bfloat16" if self.is_gpu else "float32"

    @property
    def torch_device(self) -> str:
        """Returns PyTorch's name of the device."""
        return "cuda" if self.is_gpu else "cpu"

    @property
    def memory(self) -> int:
        """Returns the bytes that can be used now."""
        told = memory_available(self.device) if self.is_gpu else None
        return told or int(psutil.virtual_memory().available)


def find_device(name: str) -> jax.Device:
    """Returns the first device of a kind; raises `UserError` if this machine, or this installation, has none."""
    try:
        return jax.devices("cpu" if name == "cpu" else "gpu")[0]
    except RuntimeError:
        found = ", ".join(sorted({device.platform for device in jax.devices()}))
        raise UserError(
            f"--device {name}: JAX finds no such device here, only {found}; take --device cpu, or install the package "
            "with its extra cuda13 on a machine with a GPU"
        ) from None


def threads_here() -> int:
    """Returns the number of cores that this process may use, which is the number of threads of XLA."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def why_no_torch(device: jax.Device) -> str:
    """Returns why PyTorch cannot compute on a device of ours; empty if it can."""
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed"
    import torch

    return "" if device.platform == "cpu" or torch.cuda.is_available() else "the installed torch finds no GPU"
