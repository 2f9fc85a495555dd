"""The part `speed`: seconds of a forward pass and of a training step, in turns with PyTorch."""

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from adatad_jax.config.build import make_loss
from adatad_jax.errors import UserError, one_line
from adatad_jax.models.policy import MemoryPolicy
from adatad_jax.training.flops import flops_per_window
from adatad_jax.training.parameters import merge
from benchmarks.run import ours
from benchmarks.run.cases import LONG, SHORT, Case
from benchmarks.run.context import Context
from benchmarks.run.memory import pytorch_needs
from benchmarks.run.rows import COMPILE, FLOPS, FORWARD, STEP, Row, compared
from benchmarks.run.sampling import Samples, alternate

RECOMPUTED, KEPT = "recomputed", "not recomputed"
EAGER, COMPILED = "PyTorch eager", "PyTorch compiled"
PRODUCT = "product of"
SIZES = ("S", "B", "L")
TURNS, FEWEST = 9, 2  # samples of each side; of long work as many as fit the time
SECONDS = 24.0  # for the turns of one piece of work, unless the fewest take longer
LONG_CALL = 10.0  # seconds of a call that is no longer made once before it is measured
LONG_ON_CPU = "S"  # the size whose long windows are measured on a CPU, recomputed: the others take minutes each time
MATMUL = {"cpu": 4096, "gpu": 8192}  # rows and columns of the product that shows the device's peak
BATCH = {"S": 2, "B": 2}  # of training steps at full length on a GPU; else 1

Call = Callable[[int], float]


class Work(NamedTuple):
    """What is measured at once.

    Attributes:
      case: size, length and batch.
      kept: for a training step, whether activations are kept; None for a forward pass.
      compiles: whether PyTorch is measured compiled too.
    """

    case: Case
    kept: bool | None
    compiles: bool

    @property
    def what(self) -> str:
        """Returns the name of the rows."""
        return FORWARD if self.kept is None else STEP

    @property
    def setting(self) -> str:
        """Returns how activations are treated; empty for a forward pass."""
        return "" if self.kept is None else KEPT if self.kept else RECOMPUTED

    def row(self, what: str, setting: str, unit: str, found: float | None = None, remark: str = "") -> Row:
        """Returns a row of this work."""
        case = self.case
        said = ", ".join(filter(None, (self.setting, setting)))
        return Row(what, case.size, case.frames, case.batch, case.dtype, said, unit, found, remark=remark)


def works(context: Context) -> Iterator[Work]:
    """Yields what is measured, short windows before long ones."""
    for frames in (SHORT,) if context.quick else (SHORT, LONG):
        for size in context.sizes:
            if size not in SIZES:
                continue
            batch = BATCH.get(size, 1) if context.is_gpu and frames == LONG else 1
            # On a CPU, PyTorch's compiler takes minutes for a program that is hardly faster.
            compiles = not context.quick and (context.is_gpu or (size, frames) == ("S", SHORT))
            yield Work(Case(size, frames, 1, context.dtype), None, compiles)
            yield Work(Case(size, frames, batch, context.dtype), False, compiles)
            if not context.quick:
                yield Work(Case(size, frames, batch, context.dtype), True, compiles and context.is_gpu)


def measure(context: Context) -> Iterator[Row]:
    """Measures all works, and the rate of a large matrix product."""
    with context.advance.piece("speed: a large matrix product", 10):
        product, peak = _matmul(context)
    yield product
    known: dict[tuple[str, str, str], float] = {}
    for work in works(context):
        case = work.case
        key = (case.size, work.what, work.setting)
        expected = known[key] * case.frames / SHORT * case.batch if key in known else 0.0
        if left_out(context, work):
            why = f"about {expected:.0f} s each time" if expected else "takes long on a CPU"
            if work.case.size == LONG_ON_CPU:
                why = "of this length the recomputed step is measured"
            yield work.row(work.what, EAGER, "s", remark=f"left out: {why}")
            continue
        with context.advance.piece(
            f"speed: {case.size}, {case.frames} frames, {work.what} {work.setting}", cost(context, work)
        ):
            found = _measure_work(context, work, peak, expected)
        yield from found
        seconds = next((row.ours for row in found if row.what == work.what), None)
        if case.frames == SHORT and seconds:
            known[key] = seconds


def left_out(context: Context, work: Work) -> bool:
    """Tells whether a work takes too long on this device."""
    if context.is_gpu:
        return False
    if work.case.frames == LONG:
        return work.case.size != LONG_ON_CPU or work.kept is True
    return work.case.size == "L" and work.kept is True


def cost(context: Context, work: Work) -> float:
    """Returns about how many seconds a work takes on a CPU of two cores."""
    if left_out(context, work):
        return 0.0
    scale = {"S": 1.0, "B": 3.3, "L": 11.0}[work.case.size] * work.case.frames / SHORT
    turn = (1.6 if work.kept is None else 6.0) * scale
    first = 0.0 if work.case.frames == LONG else 1.5 * turn
    return 12 + first + max(FEWEST * turn, min(SECONDS, TURNS * turn)) + (80 if work.compiles else 0)


def _measure_work(context: Context, work: Work, peak: float, expected_call: float = 0.0) -> list[Row]:
    """Measures a work on both sides, as far as they fit the memory.

    Args:
      context: of the run.
      work: what to measure.
      peak: the device's best rate, FLOP/s.
      expected_call: seconds of a call, if that is known from shorter windows; else 0.
    """
    case = work.case
    try:
        if work.kept is None:
            shapes = ours.plan_case(case, context.device, is_training=False)
        else:
            shapes = ours.plan_case(case, context.device, remat=not work.kept)
    except UserError as error:  # it does not fit
        return [work.row(work.what, EAGER, "s", remark=f"left out: {one_line(error)}")]
    program = (ours.compile_forward if work.kept is None else ours.compile_step)(shapes)
    needed = program.need.total if program.need else 0
    if context.has_torch:
        needed += sum(pytorch_needs(case, shapes, recompute=not work.kept))
    if needed > context.memory:
        remark = f"left out: both sides need {needed / 2**30:.1f} GiB, {context.memory / 2**30:.1f} GiB are free"
        return [work.row(work.what, EAGER, "s", remark=remark)]
    batch = case.windows()
    sides: dict[str, Call] = {
        "ours": (ours.Forward if work.kept is None else ours.Step)(program, shapes, batch),
    }
    sides |= _opponents(context, work, shapes) if context.has_torch else {}
    expected, compiling, failed = first_calls(sides, expected_call)
    if "ours" in failed:
        return [work.row(work.what, EAGER, "s", remark=f"ours: {failed['ours']}")]
    turn = sum(expected.values())
    most = 3 if context.quick else TURNS
    turns = min(most, max(FEWEST, int(SECONDS / turn)))
    samples = alternate(sides, turns, context.idle, expected)
    rows = list(time_rows(context, work, samples, failed))
    rows.append(compile_row(work, program.seconds, compiling.get(COMPILED), samples, failed))
    rows += _rate_rows(work, shapes, samples, peak)
    sides.clear()
    if context.has_torch:
        from benchmarks.run import opponent

        opponent.forget()
    return rows


def _opponents(context: Context, work: Work, shapes: ours.Shapes) -> dict[str, Call]:
    """Makes PyTorch's side, eager and compiled, each with weights of its own."""
    from benchmarks.run import opponent

    windows = opponent.make_windows(work.case.windows(), context.torch_device)
    found: dict[str, Call] = {}
    for name in (EAGER, COMPILED) if work.compiles else (EAGER,):
        recompute = work.kept is False
        model = opponent.make_model(work.case, shapes, context.torch_device, recompute)
        if work.kept is None:
            found[name] = opponent.Forward(model, work.case, windows, name == COMPILED)
        else:
            training = opponent.make_case_training(work.case, shapes, model)
            found[name] = opponent.Step(training, windows, name == COMPILED)
    return found


def first_calls(sides: dict[str, Call], known: float) -> tuple[dict[str, float], dict[str, float], dict[str, str]]:
    """Calls each side once or twice; returns seconds of a call, of first calls, and why a side does not work.

    Args:
      sides: those that do not work are removed.
      known: seconds of a call, if that is known, else 0. Where it is long, only what compiles is called.
    """
    expected, first, failed = {}, {}, {}
    for name, call in list(sides.items()):
        if known > LONG_CALL and name != COMPILED:
            expected[name] = known
            continue
        try:
            start = time.perf_counter()
            call(1)
            first[name] = time.perf_counter() - start
        except RuntimeError as error:  # of PyTorch's compiler, or of its allocator
            failed[name] = one_line(error)
            del sides[name]
            continue
        # A long call is no warm-up worth its time: one of the compiled side, which compiles, is.
        expected[name] = call(1) if name == COMPILED or first[name] < 5 else first[name]
    return expected, first, failed


def time_rows(context: Context, work: Work, samples: dict[str, Samples], failed: dict[str, str]) -> Iterator[Row]:
    """Yields a row for each way in which PyTorch computes."""
    own = samples["ours"]
    for name in (EAGER, COMPILED) if work.compiles else (EAGER,):
        other = samples.get(name)
        remarks = [f"ours: {own.remark}" if own.remark else "", f"PyTorch: {other.remark}" if other else ""]
        if not context.has_torch:
            remarks.append(context.no_torch)
        elif other is None:
            remarks.append(f"PyTorch: {failed[name]}")
        remark = ", ".join(text for text in remarks if text and text != "PyTorch: ")
        row = work.row(work.what, name, "s", remark=remark)
        yield compared(row, own.seconds, other.seconds if other else [])


def compile_row(
    work: Work, seconds: float, theirs: float | None, samples: dict[str, Samples], failed: dict[str, str]
) -> Row:
    """Returns the row of compiling: of PyTorch, what its first call took longer than a later one."""
    row = work.row(COMPILE, work.what, "s", seconds, remark=failed.get(COMPILED, ""))
    if theirs is None or COMPILED not in samples:
        return row
    later = sorted(samples[COMPILED].seconds)[0]
    return row._replace(pytorch=theirs - later, ratio=seconds / max(theirs - later, 1e-9))


def _rate_rows(work: Work, shapes: ours.Shapes, samples: dict[str, Samples], peak: float) -> Iterator[Row]:
    """Yields the work's operations, their rate, and the share of the peak's; recomputation does not count as work."""
    operations = model_flops(work.case, shapes, work.kept is not None)
    if operations is None:
        return
    yield work.row(FLOPS, work.what, "GFLOP", operations / 1e9)
    own = compared(work.row("", "", ""), samples["ours"].seconds, []).ours
    theirs = [compared(work.row("", "", ""), s.seconds, []).ours for name, s in samples.items() if name != "ours"]
    best = min((seconds for seconds in theirs if seconds), default=None)
    for setting, unit, scale in (("rate", "GFLOP/s", 1e9), ("share of the peak", "1", peak)):
        row = work.row(FLOPS, f"{work.what}, {setting}", unit)
        rates = [operations / seconds / scale if seconds else None for seconds in (own, best)]
        ratio = best / own if own and best else None
        yield row._replace(ours=rates[0], pytorch=rates[1], ratio=ratio)


def model_flops(case: Case, shapes: ours.Shapes, training: bool) -> float | None:
    """Counts the operations of a batch: of its forward pass, or of that and the gradients of what is trained."""
    model, state, batch = shapes.plan.model, shapes.state, shapes.batch
    if training:
        window = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype), batch)
        loss = make_loss(case.config().train)
        found = flops_per_window(model, loss, state.trained, state.frozen, window)
        return None if found is None else case.batch * found
    whole = {"params": merge(state.trained, state.frozen)}
    unrolled = model.clone(unroll=True, policy=MemoryPolicy())  # XLA counts the body of a loop once
    analysis: Any = jax.jit(unrolled.apply).lower(whole, batch.frames, batch.mask).cost_analysis()
    return float(analysis["flops"]) if analysis and "flops" in analysis else None


def _matmul(context: Context) -> tuple[Row, float]:
    """Measures a large matrix product on both sides; returns its row, and the best rate in FLOP/s."""
    size = 2048 if context.quick else MATMUL["gpu" if context.is_gpu else "cpu"]
    dtype = jnp.dtype(context.dtype)
    a, b = (jax.random.normal(jax.random.key(seed), (size, size), dtype) for seed in (0, 1))
    product = jax.jit(functools.partial(jnp.matmul, precision="highest" if context.dtype == "float32" else None))

    def own(calls: int) -> float:
        start = time.perf_counter()
        jax.block_until_ready([product(a, b) for _ in range(calls)])
        return time.perf_counter() - start

    sides: dict[str, Call] = {"ours": own}
    if context.has_torch:
        from benchmarks.run import opponent

        sides["pytorch"] = opponent.matmul(size, context.dtype, context.torch_device)
    for call in sides.values():
        call(1)
    samples = alternate(sides, 3 if context.quick else 7, context.idle, {name: call(1) for name, call in sides.items()})
    rates = {name: [2 * size**3 / s / 1e9 for s in found.seconds] for name, found in samples.items()}
    row = Row(FLOPS, None, None, None, context.dtype, f"{PRODUCT} {size} x {size} matrices, rate", "GFLOP/s", None)
    return compared(row, rates["ours"], rates.get("pytorch", [])), 1e9 * max(max(rate) for rate in rates.values())
