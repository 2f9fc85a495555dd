"""The targets of speed and memory on a CPU, what the rows of a run say of each, and the floor under it.

A full run of `python -m benchmarks.run` writes their table into `benchmarks/RESULTS.md`. Of parts that were measured by
themselves, `python -m benchmarks.run.targets FILE...` does so, from what `--json` has written, the latest file first.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.results import write_between
from benchmarks.run.cases import LONG, SHORT
from benchmarks.run.data import FROM_CACHE
from benchmarks.run.flops import REFERENCE, REFERENCE_SETTING
from benchmarks.run.memory import BATCH, IN_GROUPS, settings
from benchmarks.run.rows import ARGUMENTS, COMPILE, FLOPS, FORWARD, START, STEP, TEMPORARIES, WAITING, Row, read_json
from benchmarks.run.speed import EAGER, PRODUCT, RECOMPUTED
from benchmarks.run.startup import WARM

Rows = Sequence[Row]
NAME = "benchmarks.run: targets"
TITLES = ("target", "at most", "found", "met", "floor", "what stands between")


class Target(NamedTuple):
    """A target.

    Attributes:
      name: what it is of, with the unit.
      limit: the largest value that meets it.
      found: takes the value from the rows.
      floor: takes the least value that this machine could reach from the rows: of times, that of the same operations at
        the rate of a large matrix product, the median of the faster side, by the time of PyTorch.
      between: why it is not met, where it is not.
    """

    name: str
    limit: float
    found: Callable[[Rows], float]
    floor: Callable[[Rows], float | None] = lambda rows: None
    between: str = ""


def one(rows: Rows, what: str, size: str | None, frames: int | None, setting: str) -> Row:
    """Returns the row of a work with a setting, or else the first whose setting begins or ends so.

    Raises:
      LookupError: there is none.
    """
    of_work = [row for row in rows if (row.what, row.size, row.frames) == (what, size, frames)]
    same = [row for row in of_work if row.setting == setting]
    near = [row for row in of_work if row.setting.startswith(setting) or row.setting.endswith(setting)]
    if not near:
        raise LookupError(f"no row of {what}, {size}, {frames} frames, {setting}")
    return (same or near)[0]


def value(number: float | None) -> float:
    """Returns a figure; raises `LookupError` if it is missing."""
    if number is None:
        raise LookupError("the row has no figure")
    return number


def _at_the_peak(what: str, frames: int, said: str, timed: str) -> Callable[[Rows], float]:
    """Returns what takes the seconds of a work's operations at the rate of a large product, by PyTorch's seconds.

    Args:
      what, frames: of the timed work of S.
      said: setting of the row with its operations, GFLOP of 64 frames.
      timed: setting of its time.
    """

    def floor(rows: Rows) -> float:
        product = one(rows, FLOPS, None, None, PRODUCT)
        peak = max(value(product.ours), product.pytorch or 0.0)
        operations = value(one(rows, FLOPS, "S", SHORT, said).ours) * frames / SHORT
        return operations / peak / value(one(rows, what, "S", frames, timed).pytorch)

    return floor


def _ours(what: str, size: str, frames: int | None, setting: str) -> Callable[[Rows], float]:
    return lambda rows: value(one(rows, what, size, frames, setting).ours)


def _ratio(what: str, frames: int, setting: str) -> Callable[[Rows], float]:
    return lambda rows: value(one(rows, what, "S", frames, setting).ratio)


def _of_memory(size: str, setting: str, *parts: str) -> Callable[[Rows], float]:
    """Returns what sums parts of the memory of a long window's step."""
    return lambda rows: sum(_ours(part, size, LONG, setting)(rows) for part in parts)


def targets() -> list[Target]:
    """Returns the targets, in the order of their table."""
    recomputed = f"{RECOMPUTED}, {EAGER}"
    at_peak = "PyTorch runs near the rate of the product itself"
    forward = [
        Target(
            f"forward, S, {frames} frames, by PyTorch's time",
            0.95,
            _ratio(FORWARD, frames, EAGER),
            _at_the_peak(FORWARD, frames, "forward", EAGER),
            at_peak,
        )
        for frames in (SHORT, LONG)
    ]
    step = Target(
        f"train step, S, {SHORT} frames, recomputed, by PyTorch's time",
        0.95,
        _ratio(STEP, SHORT, recomputed),
        _at_the_peak(STEP, SHORT, "train step, recomputed", recomputed),
        "softmax, GELU and norms wait for the memory, and count in the floor as if they were products",
    )
    counted = Target(
        "operations of the backbone's step, by the reference's",
        1.02,
        lambda rows: _ours(FLOPS, "S", SHORT, REFERENCE_SETTING)(rows) / REFERENCE,
        between="attention's backward pass computes the logits again, so that no weights of attention are kept",
    )
    limits = {"S": 2.5, "B": 5.0, "L": 5.0, "H": 8.0}
    memory = [
        Target(
            f"temporaries, {size}, {LONG} frames, batch {BATCH.get(size, 1)}, GiB",
            limit,
            _of_memory(size, IN_GROUPS, TEMPORARIES),
        )
        for size, limit in limits.items()
    ]
    for setting, _ in list(settings("g"))[1:]:
        name = f"arguments and temporaries, g, {LONG} frames, {setting.removeprefix(IN_GROUPS).lstrip(', ')}, GiB"
        kept = "" if "stream" in setting else "the stream that is kept between blocks in float32"
        memory.append(Target(name, 12.0, _of_memory("g", setting, ARGUMENTS, TEMPORARIES), between=kept))
    compiled = [
        Target(
            f"compile time of the step, {size}, {LONG} frames, s",
            limit,
            _ours(COMPILE, size, LONG, f"{IN_GROUPS}, train step"),
            between="LLVM makes machine code of thousands of fused loops, many of the optimiser for each parameter",
        )
        for size, limit in (("S", 20.0), ("H", 40.0))
    ]
    start = [
        Target(
            f"start to the first step, caches warm, {name}, s",
            limit,
            _ours(START, size, None, WARM),
            between="imports, tracing in Python, and reading the compiled programs",
        )
        for name, size, limit in (("demo", "tiny", 6.0), ("S", "S", 10.0))
    ]
    waiting = Target(
        "waiting for data in training from the cache, share of a step",
        0.05,
        _ours(WAITING, "S", SHORT, FROM_CACHE),
    )
    return [*forward, step, counted, *memory, *compiled, *start, waiting]


def render_targets(rows: Rows) -> str:
    """Returns the table of the targets in Markdown; a target whose figures are missing is said to be without."""
    lines = [TITLES, ("---",) * len(TITLES)]
    for target in targets():
        limit = f"{target.limit:g}"
        try:
            found, floor = target.found(rows), target.floor(rows)
        except LookupError:
            lines.append((target.name, limit, "not measured", "", "", ""))
            continue
        met = found <= target.limit
        shown = "" if floor is None else f"{floor:.3g}"
        lines.append((target.name, limit, f"{found:.3g}", "yes" if met else "no", shown, "" if met else target.between))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Writes the table of the targets from rows that were measured before."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="rows, of `benchmarks.run --json FILE`")
    rows = [row for path in parser.parse_args().files for row in read_json(path)]
    write_between(NAME, render_targets(rows))


if __name__ == "__main__":
    main()
