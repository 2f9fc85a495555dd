"""The part `growth`: time and memory of a training step as windows, frames and models grow, and their picture."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter, StrMethodFormatter

from adatad_jax.devices.memory import GIB
from benchmarks.run import ours
from benchmarks.run.cases import LONG, SHORT, Case
from benchmarks.run.context import Context
from benchmarks.run.memory import GROUPS, SECONDS, pytorch_needs
from benchmarks.run.rows import STEP, TEMPORARIES, Row, compared
from benchmarks.run.sampling import alternate

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "growth.png"
SHOWN = f"![time and memory of a step over frames, pixels and sizes](../docs/images/{PICTURE.name})\n\n"
FRAMES, PIXELS, SIZES = (64, 192, 384, 768, 1536, 3072), (96, 128, 160, 192, 224), ("S", "B", "L", "H", "g")
TURNS = 2  # samples of each side
# Seconds of a step beyond which a single one is taken of each side, the first; and beyond which none is.
LONG_STEP, LONGEST = 30.0, 60.0
# Seconds of a step of the smallest work on two cores, and how much more the larger models take: a guess that decides
# what is timed.
GUESS, SCALE = 4.0, {"S": 1.0, "B": 3.3, "L": 11.0, "H": 23.0, "g": 40.0}
LABELS = {"ours": "ours", "pytorch": "PyTorch, eager"}


class Axis(NamedTuple):
    """A direction of growth: its name, and the cases along it with their values."""

    name: str
    cases: tuple[tuple[float | str, Case], ...]


def axes(context: Context) -> tuple[Axis, ...]:
    """Returns the three directions of growth; the models and pixels at the length that this device is quick at."""
    dtype, frames = context.dtype, LONG if context.is_gpu else SHORT
    count = 2 if context.quick else None
    return (
        Axis("frames of a window", tuple((n, Case("S", n, 1, dtype)) for n in FRAMES[:count])),
        Axis("pixels of a side", tuple((side, Case("S", frames, 1, dtype, side)) for side in PIXELS[:count])),
        Axis("model", tuple((size, Case(size, frames, 1, dtype)) for size in SIZES[:count])),
    )


def expected(context: Context) -> float:
    """Returns about how many seconds the part takes."""
    return sum(_cost(context, case) for axis in axes(context) for _, case in axis.cases)


def measure(context: Context) -> Iterator[Row]:
    """Measures all axes, and draws them."""
    found: dict[str, list[Row]] = {}
    for axis in axes(context):
        for value, case in axis.cases:
            name = f"growth: {axis.name} {value}"
            with context.advance.piece(name, _cost(context, case)):
                rows = list(_measure_case(context, axis.name, case))
            found.setdefault(axis.name, []).extend(rows)
            yield from rows
    if not context.quick:
        draw(axes(context), found).savefig(PICTURE, dpi=110)


def _cost(context: Context, case: Case) -> float:
    step = _guess(context, case)
    steps = 0 if step > LONGEST else 2 if step > LONG_STEP else 4 * TURNS
    return 10 + SECONDS[case.size] / 2 + steps * step


def _guess(context: Context, case: Case) -> float:
    """Returns about how many seconds a step takes."""
    work = SCALE[case.size] * case.frames / SHORT * (case.side / 160) ** 2 * case.batch
    return GUESS * work / (500 if context.is_gpu else 1)


def _measure_case(context: Context, axis: str, case: Case) -> Iterator[Row]:
    """Yields the rows of a case: memory by analysis, and the time of steps where they are not too long."""
    shapes = ours.plan_case(case, context.device, **GROUPS)
    program = ours.compile_step(shapes)
    row = Row("", case.size, case.frames, case.batch, case.dtype, f"growth of {axis}, {case.side} px", "", None)
    own = program.need.temporaries if program.need else None
    theirs = pytorch_needs(case, shapes, recompute=True)[1] if context.has_torch else None
    yield row._replace(
        what=TEMPORARIES,
        unit="GiB",
        ours=None if own is None else own / GIB,
        pytorch=None if theirs is None else theirs / GIB,
        ratio=own / theirs if own is not None and theirs else None,
    )
    if _guess(context, case) > LONGEST:
        yield row._replace(what=STEP, unit="s", remark="not timed: too long on this device")
        return
    batch = case.windows()
    sides: dict[str, ours.Step | object] = {"ours": ours.Step(program, shapes, batch)}
    if context.has_torch:
        from benchmarks.run import opponent

        model = opponent.make_model(case, shapes, context.torch_device, recompute=True)
        training = opponent.make_case_training(case, shapes, model)
        sides["pytorch"] = opponent.Step(training, opponent.make_windows(batch, context.torch_device), False)
    calls = {name: call for name, call in sides.items() if callable(call)}
    is_long = _guess(context, case) > LONG_STEP
    seconds = {name: LONG_STEP if is_long else call(1) for name, call in calls.items()}
    samples = alternate(calls, 1 if is_long else TURNS, context.idle, seconds)
    both = (samples["ours"].seconds, samples["pytorch"].seconds if "pytorch" in samples else [])
    yield compared(row._replace(what=STEP, unit="s", remark=samples["ours"].remark), *both)


def draw(directions: tuple[Axis, ...], found: dict[str, list[Row]]) -> Figure:
    """Draws time above memory, a column for each direction of growth.

    Args:
      directions: from `axes`.
      found: name of the direction -> rows in the order of its cases.
    """
    figure = Figure(figsize=(12, 6.4), layout="constrained")
    panels = figure.subplots(2, len(directions))
    for column, axis in enumerate(directions):
        for line, (what, label) in enumerate(((STEP, "seconds of a step"), (TEMPORARIES, "GiB of temporaries"))):
            panel = panels[line, column]
            rows = [row for row in found[axis.name] if row.what == what]
            words = any(isinstance(value, str) for value, _ in axis.cases)
            places = list(range(len(axis.cases))) if words else [float(value) for value, _ in axis.cases]
            for side, name in LABELS.items():
                values = [getattr(row, side) for row in rows]
                known = [(place, value) for place, value in zip(places, values, strict=True) if value is not None]
                panel.plot(*zip(*known, strict=True), marker="o", label=name) if known else None
            if not words:
                panel.set_xscale("log", base=2)
                panel.xaxis.set_major_formatter(ScalarFormatter())
                panel.xaxis.set_minor_formatter(NullFormatter())
            panel.set_yscale("log")
            panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            panel.yaxis.set_minor_formatter(NullFormatter())
            panel.set_xticks(places, [str(value) for value, _ in axis.cases])
            panel.grid(alpha=0.3, which="both")
            panel.set_xlabel(axis.name)
            panel.set_ylabel(label)
    panels[0, 0].legend()
    first = directions[0].cases[0][1]
    rest = directions[1].cases[0][1]
    groups = GROUPS["attention_chunks"]
    figure.suptitle(
        f"A training step that recomputes, {first.dtype}, batch 1, {groups} chunks at once in ours: frames of "
        f"VideoMAE-S at {first.side} px; pixels and models at {rest.frames} frames",
        fontsize=11,
    )
    return figure
