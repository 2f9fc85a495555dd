"""Measures the peak memory of a training step in this process: `python -m benchmarks.run.peak SIDE SIZE ...`.

On a CPU, that is the bytes of what a step takes, and by how much the resident set grows during the second step: the
memory that the operating system has given, with what allocators hold back. On a GPU it is what the allocator counted.
"""

import ctypes
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax

from adatad_jax.devices.memory import memory_used
from benchmarks.run import ours
from benchmarks.run.cases import Case
from benchmarks.run.context import find_device, threads_here
from benchmarks.run.memory import GROUPS, pytorch_needs

CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
RESET_PEAK = "5"


def growth(step: Callable[[], Any]) -> int:
    """Returns by how many bytes the resident set grows at most while a function runs (Linux)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # what was freed before must not hide what is taken now
    CLEAR.write_text(RESET_PEAK)
    before = _status("VmRSS")
    step()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    """Returns a line of the process's status, in bytes."""
    return 1024 * int(STATUS.read_text().split(f"{name}:")[1].split()[0])


def of_ours(case: Case, device: jax.Device) -> int:
    """Returns the bytes of this package's step."""
    shapes = ours.plan_case(case, device, **GROUPS)
    program = ours.compile_step(shapes)
    step = ours.Step(program, shapes, case.windows())
    step(1)
    if device.platform != "cpu":
        step(1)
        return int((device.memory_stats() or {})["peak_bytes_in_use"])
    assert program.need is not None
    return program.need.arguments + growth(lambda: step(1))


def of_pytorch(case: Case, name: str) -> int:
    """Returns the bytes of PyTorch's step, eager."""
    import torch

    from benchmarks.run import opponent

    opponent.set_up(threads_here())
    shapes = ours.plan_case(case, jax.devices("cpu")[0], **GROUPS)
    model = opponent.make_model(case, shapes, name, recompute=True)
    training = opponent.make_case_training(case, shapes, model)
    step = opponent.Step(training, opponent.make_windows(case.windows(), name), compile_it=False)
    step(1)
    training.optimizer.zero_grad()
    if name == "cuda":
        torch.cuda.reset_peak_memory_stats()
        step(1)
        return torch.cuda.max_memory_allocated()
    return pytorch_needs(case, shapes, recompute=True)[0] + growth(lambda: step(1))


def main() -> None:
    """Prints the bytes as JSON, and the resident set at the end."""
    side, size, frames, batch, dtype, name = sys.argv[1:]
    case = Case(size, int(frames), int(batch), dtype)
    device = find_device("cpu" if name == "cpu" else "gpu")
    found = of_ours(case, device) if side == "ours" else of_pytorch(case, name)
    print(json.dumps({"bytes": found, "resident": memory_used([device]).host}))


if __name__ == "__main__":
    main()
