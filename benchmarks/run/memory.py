"""The part `memory`: what programs need as XLA has laid them out, what PyTorch needs, and peaks of real steps."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax

from adatad_jax.devices.memory import GIB
from adatad_jax.errors import one_line
from benchmarks.run import ours
from benchmarks.run.cases import LONG, SHORT, Case
from benchmarks.run.context import Context
from benchmarks.run.rows import ARGUMENTS, COMPILE, PEAK, TEMPORARIES, Row, compared
from benchmarks.run.sampling import Samples

ROOT = Path(__file__).parents[2]
BATCH = {"S": 2, "B": 2}  # at full length; else 1
SECONDS = {"S": 22.0, "B": 22.0, "L": 28.0, "H": 40.0, "g": 50.0}  # to compile the step of a long window, about
COMPILED = {"S": 3, "H": 3}  # times that the step is compiled, for the median; else 1
PEAK_SECONDS = 45.0  # of the two processes that measure a peak, about
# Settings that need little memory; the same on every device.
GROUPS: dict[str, Any] = {"remat": True, "attention_chunks": 2, "mlp_chunks": 0}
IN_GROUPS = f"recomputed, {GROUPS['attention_chunks']} chunks at once"


def settings(size: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the settings in which a size is compiled: their names, and fields of the model."""
    yield IN_GROUPS, GROUPS
    if size == "g":
        frozen = {**GROUPS, "frozen_dtype": "bfloat16"}
        yield f"{IN_GROUPS}, frozen weights bfloat16", frozen
        yield f"{IN_GROUPS}, frozen weights and kept stream bfloat16", {**frozen, "stream_dtype": "bfloat16"}


def measure(context: Context) -> Iterator[Row]:
    """Compiles the training step of each size, and measures the peaks of steps that fit the time."""
    for size in context.sizes:
        frames = SHORT if context.quick else LONG
        case = Case(size, frames, 1 if context.quick else BATCH.get(size, 1), context.dtype)
        for setting, fields in settings(size):
            with context.advance.piece(f"memory: {size}, {frames} frames, compiling", seconds(context, size)):
                yield from _analysed(context, case, setting, fields)
    for case in peak_cases(context):
        with context.advance.piece(f"memory: {case.size}, {case.frames} frames, peak of a step", PEAK_SECONDS):
            yield _peak_row(context, case)


def seconds(context: Context, size: str) -> float:
    """Returns about how many seconds a setting of a size takes."""
    return SECONDS[size] * (1 if context.quick else COMPILED.get(size, 1))


def peak_cases(context: Context) -> Iterator[Case]:
    """Yields the cases whose steps are taken: on a CPU those of the smallest model, and none in a quick run."""
    if context.quick:
        return
    for size in context.sizes if context.is_gpu else [size for size in context.sizes if size == "S"]:
        yield Case(size, SHORT, 1, context.dtype)
        yield Case(size, LONG, BATCH.get(size, 1) if context.is_gpu else 1, context.dtype)


def _analysed(context: Context, case: Case, setting: str, fields: dict[str, Any]) -> Iterator[Row]:
    """Yields the rows of a compiled step beside PyTorch's tensors."""
    times = 1 if context.quick else COMPILED.get(case.size, 1)
    spent = Samples()
    for _ in range(times):
        jax.clear_caches()  # what was traced before would not be traced again
        quiet = context.idle.wait()
        shapes = ours.plan_case(case, context.device, **fields)
        program = ours.compile_step(shapes)
        spent.add((program.seconds, quiet))
    theirs = pytorch_needs(case, shapes, recompute=True) if context.has_torch else None
    row = Row("", case.size, case.frames, case.batch, case.dtype, setting, "GiB", None)
    own = (program.need.arguments, program.need.temporaries) if program.need else (None, None)
    other_weights = "PyTorch's frozen weights are float32" if "frozen_dtype" in fields and theirs else ""
    for index, what in enumerate((ARGUMENTS, TEMPORARIES)):
        found, other = own[index], theirs[index] if theirs else None
        remark = "" if found is not None else "this backend does not tell"
        yield row._replace(
            what=what,
            ours=None if found is None else found / GIB,
            pytorch=None if other is None else other / GIB,
            ratio=found / other if found is not None and other else None,
            remark=remark or context.no_torch or other_weights,
        )
    compiled = row._replace(what=COMPILE, setting=f"{setting}, train step", unit="s", remark=spent.remark)
    yield compared(compiled, spent.seconds, [])


def pytorch_needs(case: Case, shapes: ours.Shapes, recompute: bool) -> tuple[int, int]:
    """Returns the bytes that PyTorch's step needs: of what it starts with, and of tensors that live in between."""
    import torch

    from benchmarks.pytorch.live import peak_of_a_step
    from benchmarks.pytorch.training import Windows
    from benchmarks.run import opponent

    def make() -> tuple[Callable[[], Any], Callable[[], Iterable[torch.Tensor]]]:
        model = opponent.make_model(case, shapes, "cpu", recompute, fill=False)
        training = opponent.make_case_training(case, shapes, model)
        arrays = shapes.batch[:4]
        windows = Windows(*(torch.zeros(array.shape, dtype=getattr(torch, array.dtype.name)) for array in arrays))

        def kept() -> Iterator[torch.Tensor]:
            yield from model.parameters()
            yield from model.buffers()
            yield from training.averages
            yield from windows
            for state in training.optimizer.state.values():
                yield from (value for value in state.values() if isinstance(value, torch.Tensor))

        return lambda: training.step(windows), kept

    return peak_of_a_step(make)


def _peak_row(context: Context, case: Case) -> Row:
    """Takes steps in two processes of their own; returns the row of their peaks."""
    measured = "allocators' peaks" if context.is_gpu else "arguments, and the resident set's growth in a step"
    setting = f"{IN_GROUPS}, {measured}"
    row = Row(PEAK, case.size, case.frames, case.batch, case.dtype, setting, "GiB", None)
    remarks = [context.no_torch] if context.no_torch else []
    found: dict[str, float] = {}
    for side in ("ours", "pytorch") if context.has_torch else ("ours",):
        arguments = [side, case.size, str(case.frames), str(case.batch), case.dtype, context.torch_device]
        command = [sys.executable, "-m", "benchmarks.run.peak", *arguments]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if ended.returncode == 0:
            found[side] = json.loads(ended.stdout.splitlines()[-1])["bytes"] / GIB
        else:
            last = (ended.stderr.strip().splitlines() or [f"ended with code {ended.returncode}"])[-1]
            remarks.append(f"{side}: {one_line(RuntimeError(last))}")
    own, other = found.get("ours"), found.get("pytorch")
    ratio = own / other if own and other else None
    return row._replace(ours=own, pytorch=other, ratio=ratio, remark=", ".join(remarks))
