"""What the part `speed` measures, how long that takes, and what becomes of a side that does not work."""

from typing import Any

import jax
import pytest

from benchmarks.run.__main__ import ALL_SIZES, PARTS, QUICK, UNASKED
from benchmarks.run.cases import LONG, SHORT, Case
from benchmarks.run.context import Context
from benchmarks.run.rows import COMPILE, FORWARD, STEP
from benchmarks.run.sampling import Samples
from benchmarks.run.speed import (
    COMPILED,
    EAGER,
    KEPT,
    LONG_CALL,
    RECOMPUTED,
    Work,
    compile_row,
    first_calls,
    left_out,
    time_rows,
    works,
)

WORK = Work(Case("S", SHORT, 1, "float32"), False, compiles=True)


def make_context(quick: bool = False, no_torch: str = "") -> Context:
    nothing: Any = None
    sizes = ("S",) if quick else ALL_SIZES
    return Context(jax.devices("cpu")[0], quick, sizes, 2, no_torch, nothing, nothing)


def samples(*seconds: float) -> Samples:
    found = Samples()
    for one in seconds:
        found.add((one, True))
    return found


def test_works() -> None:
    context = make_context()
    found = [(work.case.size, work.case.frames, work.what, work.setting) for work in works(context)]
    assert {(size, frames) for size, frames, _, _ in found} == {(s, f) for s in "SBL" for f in (SHORT, LONG)}
    for frames in (SHORT, LONG):
        assert ("S", frames, FORWARD, "") in found
        assert ("S", frames, STEP, RECOMPUTED) in found
        assert ("S", frames, STEP, KEPT) in found
    small = [work for work in works(context) if work.case.size == "S"]
    assert [(work.case.frames, work.setting) for work in small if left_out(context, work)] == [(LONG, KEPT)]


def test_how_long_it_takes() -> None:
    assert sum(PARTS[part].expected(make_context()) for part in UNASKED) < 40 * 60
    assert sum(PARTS[part].expected(make_context(quick=True)) for part in QUICK) < 150


def test_a_side_that_fails_is_left_out() -> None:
    def fail(calls: int) -> float:
        raise RuntimeError("no C++ compiler")

    sides = {"ours": lambda calls: 0.5 * calls, EAGER: lambda calls: 0.25 * calls, COMPILED: fail}
    expected, _, failed = first_calls(sides, 0)
    assert expected == {"ours": 0.5, EAGER: 0.25}
    assert set(sides) == {"ours", EAGER}
    eager, compiled = time_rows(make_context(), WORK, {"ours": samples(1, 1), EAGER: samples(2, 4)}, failed)
    assert (eager.ours, eager.pytorch, eager.ratio) == (1, 3, pytest.approx(0.375))
    assert (compiled.ours, compiled.pytorch, compiled.ratio) == (1, None, None)
    assert "no C++ compiler" in compiled.remark
    assert not eager.remark


def test_long_calls_are_not_made_for_nothing() -> None:
    made = []
    sides = {"ours": lambda calls: made.append("ours") or 1.0, COMPILED: lambda calls: made.append(COMPILED) or 2.0}
    expected, _, _ = first_calls(sides, 2 * LONG_CALL)
    assert expected == {"ours": 2 * LONG_CALL, COMPILED: 2.0}
    assert set(made) == {COMPILED}


def test_without_torch() -> None:
    context = make_context(no_torch="torch is not installed")
    for row in time_rows(context, WORK, {"ours": samples(1, 1)}, {}):
        assert (row.ours, row.pytorch, row.ratio) == (1, None, None)
        assert "torch is not installed" in row.remark


def test_compile_time_of_pytorch_is_that_of_the_first_call() -> None:
    both = {"ours": samples(1), COMPILED: samples(3, 2)}
    row = compile_row(WORK, 10.0, 42.0, both, {})
    assert (row.what, row.ours, row.pytorch, row.ratio) == (COMPILE, 10, 40, 0.25)
