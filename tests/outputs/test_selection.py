"""The selection of detections to show: good ones, without weaker repeats."""

from hypothesis import given
from hypothesis import strategies as st

from adatad_jax.outputs.selection import to_show
from adatad_jax.postprocessing.detections import Detection
from tests.outputs.detections import lists_of


def tiou(a: Detection, b: Detection) -> float:
    shared = max(0.0, min(a.end, b.end) - max(a.start, b.start))
    union = a.end - a.start + b.end - b.start - shared
    return shared / union if union else float(a.start == b.start)


def test_an_example() -> None:
    best = Detection(0, 10, "jump", 0.9)
    repeat = Detection(0, 5, "jump", 0.8)  # tIoU 0.5
    shorter = Detection(0, 4.9, "jump", 0.7)
    other = Detection(0, 10, "run", 0.6)
    faint = Detection(20, 30, "run", 0.09)
    assert to_show([faint, shorter, other, repeat, best]) == [best, shorter, other]
    assert to_show([faint, shorter, other, repeat, best], most=2) == [best, shorter]
    assert to_show([faint, shorter, other, repeat, best], threshold=0.05) == [best, shorter, other, faint]


def test_the_single_best_stands_for_none_unless_a_threshold_is_given() -> None:
    faint, fainter = Detection(0, 1, "a", 0.05), Detection(5, 6, "a", 0.01)
    assert to_show([fainter, faint]) == [faint]
    assert to_show([fainter, faint], threshold=0.1) == []
    assert to_show([]) == []


@given(lists_of(("a", "b")), st.sampled_from([None, 0.0, 0.5]), st.sampled_from([None, 1, 3]))
def test_equal_to_the_greedy_choice_one_by_one(
    detections: list[Detection], threshold: float | None, most: int | None
) -> None:
    kept: list[Detection] = []
    for one in sorted(detections, key=lambda detection: -detection.score):
        repeats = any(one.label == other.label and tiou(one, other) >= 0.5 - 1e-12 for other in kept)
        if one.score >= (0.1 if threshold is None else threshold) and not repeats:
            kept.append(one)
    if not kept and threshold is None:
        kept = sorted(detections, key=lambda detection: -detection.score)[:1]
    assert to_show(detections, threshold, most) == kept[:most]
