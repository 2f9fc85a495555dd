"""The table of targets: what is taken from which row, and what is said where there is none."""

import pytest

from benchmarks.run.rows import ARGUMENTS, COMPILE, FLOPS, FORWARD, START, STEP, TEMPORARIES, WAITING, Row
from benchmarks.run.targets import render_targets

GROUPED = "recomputed, 2 chunks at once"
BOTH = f"{GROUPED}, frozen weights and kept stream bfloat16"
ROWS = [
    Row(FLOPS, None, None, None, "float32", "product of 4096 x 4096 matrices, rate", "GFLOP/s", 160.0, 200.0),
    Row(FORWARD, "S", 64, 1, "float32", "PyTorch eager", "s", 1.8, 2.0, 0.9),
    Row(FORWARD, "S", 64, 1, "float32", "PyTorch compiled", "s", 1.8, 1.0, 1.8),
    Row(FORWARD, "S", 768, 1, "float32", "PyTorch eager", "s", 24.0, 20.0, 1.2),
    Row(FLOPS, "S", 64, 1, "float32", "forward", "GFLOP", 200.0),
    Row(FLOPS, "S", 64, 1, "float32", "forward, rate", "GFLOP/s", 110.0, 100.0),
    Row(STEP, "S", 64, 1, "float32", "recomputed, PyTorch eager", "s", 4.0, 5.0, 0.8),
    Row(FLOPS, "S", 64, 1, "float32", "backbone, train step, not recomputed", "GFLOP", 424.6),
    Row(FLOPS, "S", 64, 1, "float32", "backbone, train step, recomputed", "GFLOP", 700.0),
    Row(FLOPS, "S", 64, 1, "float32", "train step, recomputed", "GFLOP", 800.0),
    Row(TEMPORARIES, "S", 768, 2, "float32", GROUPED, "GiB", 2.6, 3.0, 0.9),
    Row(ARGUMENTS, "g", 768, 1, "float32", BOTH, "GiB", 3.0),
    Row(TEMPORARIES, "g", 768, 1, "float32", BOTH, "GiB", 7.0),
    Row(COMPILE, "H", 768, 1, "float32", f"{GROUPED}, train step", "s", 41.0),
    Row(START, "tiny", None, None, None, "configs/demo.py, empty compilation cache", "s", 20.0),
    Row(START, "tiny", None, None, None, "configs/demo.py, warm compilation cache", "s", 5.0),
    Row(WAITING, "S", 64, 1, "float32", "training from cache, 8 threads", "share of a step", 0.04),
]


@pytest.mark.parametrize(
    ("name", "found", "met", "floor"),
    [
        ("forward, S, 64 frames", "0.9", "yes", "0.5"),  # 200 GFLOP at 200 GFLOP/s is 1 s; PyTorch took 2
        ("forward, S, 768 frames", "1.2", "no", "0.6"),  # 12 s of 20
        ("operations", "1", "yes", ""),
        ("temporaries, S", "2.6", "no", ""),
        ("arguments and temporaries, g, 768 frames, frozen weights and kept stream", "10", "yes", ""),
        ("compile time of the step, H", "41", "no", ""),
        ("start to the first step, caches warm, demo", "5", "yes", ""),
        ("waiting", "0.04", "yes", ""),
        ("train step, S", "0.8", "yes", "0.8"),  # 4 s of 5
        ("temporaries, B", "not measured", "", ""),
    ],
)
def test_targets(name: str, found: str, met: str, floor: str) -> None:
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in render_targets(ROWS).splitlines()]
    (line,) = [line for line in lines if line[0].startswith(name)]
    assert line[2:5] == [found, met, floor]
    assert met == "no" or not line[5]
