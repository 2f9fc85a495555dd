"""Rows of the benchmark: medians, ratios per turn, spread, and the schema of the JSON."""

import json
from pathlib import Path

import pytest

from benchmarks.run import rows
from benchmarks.run.rows import Row, compared, read_json, spread, write_json

BARE = Row("forward", "S", 64, 1, "float32", "PyTorch eager", "s", None)
# Issue 13's list.
KEYS = ["what", "size", "frames", "batch", "dtype", "setting", "unit", "ours", "pytorch", "ratio", "spread"]
NAMES = {
    "forward",
    "train step",
    "compiled temporaries",
    "arguments",
    "peak memory",
    "compile time",
    "start-up",
    "flops",
    "waiting for data",
}


def test_names() -> None:
    assert {getattr(rows, name) for name in dir(rows) if name.isupper()} == NAMES


def test_the_ratio_is_of_neighbours() -> None:
    """Between the turns the machine became three times slower, for both sides."""
    row = compared(BARE, [1.0, 1.1, 3.0], [2.0, 2.0, 6.0])
    assert (row.ours, row.pytorch, row.ratio) == (1.1, 2.0, 0.5)
    assert row.spread == pytest.approx(0.05 / 0.5)


def test_one_side_alone() -> None:
    row = compared(BARE, [1.0, 2.0, 4.0], [])
    assert (row.ours, row.pytorch, row.ratio, row.spread) == (2.0, None, None, 1.5)
    assert spread([1.0]) is None


def test_json(tmp_path: Path) -> None:
    missing = BARE._replace(remark="left out: too long")
    rows = [compared(BARE, [1.0, 1.0], [2.0, 2.0]), missing]
    write_json(tmp_path / "rows.json", rows)
    assert read_json(tmp_path / "rows.json") == rows
    full, empty = json.loads((tmp_path / "rows.json").read_text())
    assert list(full) == list(empty) == KEYS
    assert full == dict(zip(KEYS, ["forward", "S", 64, 1, "float32", "PyTorch eager", "s", 1, 2, 0.5, 0], strict=True))
    assert [empty[key] for key in ("ours", "pytorch", "ratio", "spread")] == [None] * 4
    assert "left out: too long" in empty["setting"]
