"""Notes on odd detections, with counts made by hand."""

import re

import numpy as np
import pytest

from adatad_jax.errors import few
from adatad_jax.evaluation.oddities import oddities
from adatad_jax.postprocessing.detections import Detections
from adatad_jax.video.names import name_hint

CLASSES = ["Dive", "Jump", "Swim", "Clap"]
TRUTH = {
    "a": (np.array([[0.0, 1], [2, 3]]), np.array([0, 1])),
    "b": (np.array([[0.0, 1]]), np.array([0])),
}
DURATIONS = {"a": 10.0, "b": 10.0, "empty": 10.0}


def detections(*rows: tuple[float, float, int]) -> Detections:
    table = np.array(rows, float).reshape(-1, 3)
    return Detections(table[:, :2], np.ones(len(table)), table[:, 2])


def only_note(results: dict[str, Detections], **changes: object) -> str:
    """Returns the only note on `results`, which are completed so that nothing else is odd."""
    arguments = {"truth": TRUTH, "durations": DURATIONS} | changes
    whole = {"a": detections((0, 1, 0), (2, 3, 1)), "b": detections((0, 1, 0))}
    (note,) = oddities(results=whole | results, classes=CLASSES, **arguments)  # type: ignore[arg-type]
    return note


def test_nothing_odd_no_note() -> None:
    results = {"a": detections((0, 1, 0), (2, 3, 1)), "b": detections((0, 10.005, 0)), "c": detections()}
    assert oddities(TRUTH, results, DURATIONS, CLASSES) == ()


def test_videos_without_detections() -> None:
    note = only_note({"b": detections()})
    assert re.search(r"^detections in 1 of the 2 videos .*missed: b$", note)
    (note,) = oddities(TRUTH, {"a": detections()}, DURATIONS, CLASSES)
    assert re.search(r"^there is no detection .* 0$", note)


def test_detections_elsewhere() -> None:
    note = only_note({"empty": detections((0, 1, 0), (1, 2, 0))})
    assert re.search(r"^2 detections in 1 videos .*without a segment.*false positives: empty$", note)
    note = only_note({"x": detections((0, 1, 0)), "y": detections((0, 1, 0))})
    assert re.search(r"^2 detections in 2 videos .*not annotated.*false positives: x, y$", note)
    results = {"a": detections((0, 1, 0), (2, 3, 1)), "v_b.mp4": detections((0, 1, 0))}
    notes = oddities(TRUTH, results, DURATIONS, CLASSES)
    assert any(re.search(r'v_b\.mp4; 1 .*"v_b\.mp4" as "b"', note) for note in notes)


def test_nothing_that_overlaps() -> None:
    """Covers times in frames, where all else may look right."""
    results = {"a": detections((1000, 2000, 0), (0, 1, 1)), "b": detections((2, 3, 0))}
    (note,) = oddities(TRUTH, results, {"a": 3000, "b": 10, "empty": 10}, CLASSES)
    assert re.search(r"^no detection overlaps .*label.*mAP is 0.*seconds", note)


def test_labels() -> None:
    note = only_note({"a": detections((0, 1, 0), (2, 3, 1), (0, 1, 3), (0, 1, 2), (0, 1, 3))})
    assert re.search(r"^3 detections of labels without .*ignored: Clap \(2\), Swim \(1\)$", note)
    note = only_note({"a": detections((0, 1, 0))})
    assert re.search(r"^1 of the 2 annotated labels .*precision of 0: Jump$", note)


def test_odd_segments() -> None:
    more = (0, 1, 0), (2, 3, 1)
    note = only_note({"a": detections(*more, (5, 2, 0), (3, 3, 0))})
    assert re.search(r"^2 detections end .*before their start.*false positives: a \[5, 2\], a \[3, 3\]$", note)
    note = only_note({"a": detections(*more, (-1.5, 2, 0))})
    assert re.search(r"^1 detections start before 0.*: a \[-1\.5, 2\]$", note)
    note = only_note({"a": detections(*more, (8, 10.25, 0))})
    assert re.search(r"^1 detections end after their video.*: a \[8, 10\.25\]$", note)


def test_odd_annotations() -> None:
    truth = {**TRUTH, "b": (np.array([[0.0, 1], [0, 1], [4, 4]]), np.zeros(3, int))}
    assert re.search(r"^2 annotated segments .*empty.*repeat", only_note({}, truth=truth))
    note = only_note({}, durations={"a": 10.0, "b": np.nan})
    assert re.search(r"duration of 1 annotated videos .*coverage.*: b$", note)


@pytest.mark.parametrize(
    ("name", "known"),
    [("v_one", "one"), ("one", "v_one"), ("one.mp4", "one"), ("one", "v_one.AVI"), ("clips/one", "one")],
)
def test_names_that_are_spelled_differently(name: str, known: str) -> None:
    hint = name_hint([name, "three"], [known, "two"])
    assert re.search(rf'^1 of .*"{re.escape(name)}" as "{re.escape(known)}"', hint)


def test_names_that_differ() -> None:
    assert name_hint(["one", "two.5"], ["three", "two"]) == ""
    assert few(["a", "b", "c"]) == "a, b, c"
    assert few(["a\x1b[31m", "b c", "半\ud83d", "d"]) == "'a\\x1b[31m', b c, '半\\ud83d', ... (4 in all)"
    assert few(["a", "b", "c", "d"]) == "a, b, c, ... (4 in all)"
