"""Every line is counted by hand."""

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
    """The note on `results`, to which whatever else needs no note is added."""
    arguments = {"truth": TRUTH, "durations": DURATIONS} | changes
    whole = {"a": detections((0, 1, 0), (2, 3, 1)), "b": detections((0, 1, 0))}
    (note,) = oddities(results=whole | results, classes=CLASSES, **arguments)  # type: ignore[arg-type]
    return note


def test_nothing_odd_no_note() -> None:
    results = {"a": detections((0, 1, 0), (2, 3, 1)), "b": detections((0, 10.005, 0)), "c": detections()}
    assert oddities(TRUTH, results, DURATIONS, CLASSES) == ()


def test_videos_without_detections() -> None:
    note = only_note({"b": detections()})
    assert note.startswith("detections in 1 of the 2 videos that have segments")
    assert note.endswith("count as missed: b")
    (note,) = oddities(TRUTH, {"a": detections()}, DURATIONS, CLASSES)
    assert note == "there is no detection at all: every figure is 0"


def test_detections_elsewhere() -> None:
    note = only_note({"empty": detections((0, 1, 0), (1, 2, 0))})
    assert note == "2 detections in 1 videos that are annotated without a segment count as false positives: empty"
    note = only_note({"x": detections((0, 1, 0)), "y": detections((0, 1, 0))})
    assert note == "2 detections in 2 videos that are not annotated in this subset count as false positives: x, y"
    results = {"a": detections((0, 1, 0), (2, 3, 1)), "v_b.mp4": detections((0, 1, 0))}
    notes = oddities(TRUTH, results, DURATIONS, CLASSES)
    assert any('v_b.mp4; 1 of these names would match if spelled alike, such as "v_b.mp4" as "b"' in n for n in notes)


def test_nothing_that_overlaps() -> None:
    """As where times are frames: all else may look right."""
    results = {"a": detections((1000, 2000, 0), (0, 1, 1)), "b": detections((2, 3, 0))}
    told = "no detection overlaps a segment of its label, so that mAP is 0: are all times in seconds?"
    assert oddities(TRUTH, results, {"a": 3000, "b": 10, "empty": 10}, CLASSES) == (told,)


def test_labels() -> None:
    note = only_note({"a": detections((0, 1, 0), (2, 3, 1), (0, 1, 3), (0, 1, 2), (0, 1, 3))})
    assert note == "3 detections of labels without an annotated segment are ignored: Clap (2), Swim (1)"
    note = only_note({"a": detections((0, 1, 0))})
    assert note == "no detection of 1 of the 2 annotated labels, whose average precision is 0: Jump"


def test_odd_segments() -> None:
    more = (0, 1, 0), (2, 3, 1)
    note = only_note({"a": detections(*more, (5, 2, 0), (3, 3, 0))})
    assert note.startswith("2 detections end at or before their start")
    assert note.endswith("count as false positives: a [5, 2], a [3, 3]")
    assert only_note({"a": detections(*more, (-1.5, 2, 0))}).endswith("as they are: a [-1.5, 2]")
    assert only_note({"a": detections(*more, (8, 10.25, 0))}).startswith("1 detections end after their video")


def test_odd_annotations() -> None:
    truth = {**TRUTH, "b": (np.array([[0.0, 1], [0, 1], [4, 4]]), np.zeros(3, int))}
    assert only_note({}, truth=truth).startswith("2 annotated segments are left out")
    note = only_note({}, durations={"a": 10.0, "b": np.nan})
    assert note == "the duration of 1 annotated videos is not known, so that coverage is not analysed: b"


@pytest.mark.parametrize(
    ("name", "known"),
    [("v_one", "one"), ("one", "v_one"), ("one.mp4", "one"), ("one", "v_one.AVI"), ("clips/one", "one")],
)
def test_names_that_are_spelled_differently(name: str, known: str) -> None:
    assert f'1 of these names would match if spelled alike, such as "{name}" as "{known}"' in name_hint(
        [name, "three"], [known, "two"]
    )


def test_names_that_differ() -> None:
    assert name_hint(["one", "two.5"], ["three", "two"]) == ""
    assert few(["a", "b", "c"]) == "a, b, c"
    assert few(["a\x1b[31m", "b c", "半\ud83d", "d"]) == "'a\\x1b[31m', b c, '半\\ud83d', ... (4 in all)"
    assert few(["a", "b", "c", "d"]) == "a, b, c, ... (4 in all)"
