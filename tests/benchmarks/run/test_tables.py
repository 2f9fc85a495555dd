"""Tables between markers: everything else of the results stays as it is."""

from pathlib import Path

import jax
import pytest

from adatad_jax.errors import UserError
from benchmarks.results import RESULTS, markers, replace_between
from benchmarks.run.__main__ import PARTS
from benchmarks.run.rows import Row
from benchmarks.run.tables import describe, render, write_tables

ROW = Row("train step", "S", 64, 2, "float32", "recomputed", "s", 4.0, 5.0, 0.8, 0.031, "2 of 3 | beside")


def test_the_results_have_a_place_for_every_part() -> None:
    text = RESULTS.read_text(encoding="utf-8")
    names = ("augment", "evaluation", "hooks", "kills", "kills.processes", "loading", "long_video", "masked_encoder")
    others = [f"benchmarks.{name}" for name in (*names, "precision", "run: targets")]
    for name in (*others, *(f"benchmarks.run: {part}" for part in PARTS)):
        replace_between(text, name, "", RESULTS)


def test_tables_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    begin, end = markers("benchmarks.run: speed")
    path.write_text(f"before\n{begin}\nold\n{end}\nafter\n", encoding="utf-8")
    for number in range(2):
        write_tables("speed", [ROW], f"run {number}", path)
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{begin}\n")
    assert text.endswith(f"\n{end}\nafter\n")
    assert "run 1" in text
    assert "run 0" not in text
    assert "old" not in text
    assert text.count("train step") == 1


def test_a_missing_marker_is_named(tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    path.write_text(markers("benchmarks.run: speed")[0], encoding="utf-8")
    with pytest.raises(UserError, match=str(path)) as error:
        write_tables("speed", [ROW], "", path)
    assert markers("benchmarks.run: speed")[1] in str(error.value)


def test_table() -> None:
    lines = render([ROW, ROW._replace(ours=None, pytorch=None, ratio=None, spread=None)]).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert {len(line) for line in cells} == {len(cells[0])}
    row = dict(zip(cells[0], cells[2], strict=True))
    # 2 windows of 64 frames in 4 s.
    assert (row["ours"], row["PyTorch"], row["ratio"], row["spread"], row["frames per second"]) == (
        "4",
        "5",
        "0.8",
        "3%",
        "32",
    )
    assert cells[3][cells[0].index("ours")] == ""


def test_columns_without_a_figure_are_left_out() -> None:
    head = render([ROW._replace(pytorch=None, ratio=None, remark="")]).splitlines()[0]
    assert "PyTorch" not in head
    assert "ratio" not in head


def test_description() -> None:
    text = describe("python -m benchmarks.run", jax.devices("cpu")[0], 2)
    assert "python -m benchmarks.run" in text
    assert f"jax {jax.__version__}" in text
    assert "2 threads" in text
