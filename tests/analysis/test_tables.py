from io import StringIO

from rich.console import Console

from adatad_jax.analysis.analyse import analyse, print_analysis
from tests.analysis.small_cases import CLASSES, Results, Truth, detections, truth


def printed(ground_truth: Truth, found: Results, durations: dict[str, float]) -> tuple[str, list[list[str]]]:
    """Returns the printed text, and the cells of its rows."""
    said = StringIO()
    print_analysis(analyse(ground_truth, found, durations, (0.5, 0.7), CLASSES), Console(file=said, width=120))
    text = said.getvalue()
    return text, [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines()]


def test_percent_by_hand() -> None:
    ground_truth = {"v": truth((0, 1, 0), (10, 14, 0)), "w": truth((0, 4, 3))}
    found = {"v": detections((20, 30, 0.9, 0), (10, 12.5, 0.8, 0)), "w": detections((0, 4, 0.1, 3))}
    text, rows = printed(ground_truth, found, {"v": 20.0, "w": 16.0})
    assert "tIoU 0.5" in text
    # first G: Dive's two, Walk's one; no class has a second
    assert ["true positive", "2", "66.7", "-", "-", "-", ""] in rows
    # Dive at 0.5: miss, hit of two: 1/4, without the miss 1/2; at 0.7, 5/8 is too little. Mean of 2 classes and 2 tIoUs
    assert ["background", "1", "33.3", "-", "-", "-", "6.25"] in rows
    assert ["double detection", "0", "0.0", "-", "-", "-", "0.00"] in rows
    # N = 1.5; Dive at 0.5: R N / (R N + 1) = 0.75 / 1.75 for half of the segments; Walk 1
    assert f"{100 * (0.75 / 1.75 / 2 + 1 + 1) / 4:.2f}" in text
    # by length Dive's first, missed; then its second, of R = 1, at 0.5 alone, and Walk's
    assert ["length, s", "S", "0", "1", "1", "0.00", "100.0"] in rows
    assert ["", "L", "1", "4", "2", f"{100 * (1.5 / 2.5 / 2 + 1) / 2:.2f}", "0.0"] in rows
    assert ["coverage, %", "S", "0", "5", "1", "0.00", "100.0"] in rows


def test_without_detections_and_durations() -> None:
    text, rows = printed({"v": truth((0, 10, 0))}, {}, {})
    assert ["true positive", "0", "-", "-", "-", "-", ""] in rows
    assert ["instances", "all", "0", "1", "1", "0.00", "100.0"] in rows
    assert "coverage" not in text
    assert "nan" not in text
