"""The picture of growth: a panel for time and for memory per direction, and gaps where nothing was timed."""

from pathlib import Path

from benchmarks.run.cases import Case
from benchmarks.run.growth import Axis, draw
from benchmarks.run.rows import STEP, TEMPORARIES, Row


def test_picture(tmp_path: Path) -> None:
    cases = [Case("S", frames, 1, "float32") for frames in (64, 768, 3072)]
    axes = (
        Axis("frames of a window", tuple((case.frames, case) for case in cases)),
        Axis("model", tuple(zip("SBL", cases, strict=True))),
    )
    found: dict[str, list[Row]] = {}
    for axis in axes:
        for number, (_, case) in enumerate(axis.cases):
            row = Row(TEMPORARIES, case.size, case.frames, 1, "float32", "", "GiB", 4.0**number, 5.0**number)
            timed = row._replace(what=STEP, ours=2.0 if number < 2 else None, pytorch=None)
            found.setdefault(axis.name, []).extend([row, timed])
    figure = draw(axes, found)
    times, memory = figure.axes[0], figure.axes[2]
    assert [list(line.get_xdata()) for line in times.lines] == [[64, 768]]
    assert [list(line.get_ydata()) for line in memory.lines] == [[1, 4, 16], [1, 5, 25]]
    assert [label.get_text() for label in figure.axes[1].get_xticklabels()] == ["S", "B", "L"]
    figure.savefig(tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 10_000
