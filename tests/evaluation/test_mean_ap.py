import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adatad_jax.errors import UserError
from adatad_jax.evaluation.ground_truth import segment_tiou
from adatad_jax.evaluation.mean_ap import average_precision, match, mean_average_precision
from adatad_jax.postprocessing.detections import Detections

CLASSES = ["Dive", "Jump", "Swim"]
Rows = list[tuple[float, float, float, int]]


def detections(rows: Rows) -> Detections:
    table = np.array(rows, float).reshape(-1, 4)
    return Detections(table[:, :2], table[:, 2], table[:, 3].astype(int))


def truth(*rows: tuple[float, float, int]) -> tuple[np.ndarray, np.ndarray]:
    table = np.array(rows, float)
    return table[:, :2], table[:, 2].astype(int)


@st.composite
def overlapping(draw: st.DrawFn) -> np.ndarray:
    """Draws the tIoU of segments on a small grid, so that equal overlaps are common."""
    pairs = st.tuples(st.integers(0, 6), st.integers(1, 4))
    a, b = (np.array(draw(st.lists(pairs, min_size=1, max_size=8)), float) for _ in range(2))
    return segment_tiou(np.cumsum(a, axis=1), np.cumsum(b, axis=1))


@given(overlapping(), st.sampled_from([0.1, 1 / 3, 0.5, 0.75, 1.0]))
def test_matching_is_the_loop_over_detections_and_segments(tiou: np.ndarray, threshold: float) -> None:
    taken: set[int] = set()
    expected = []
    for overlaps in tiou:
        order = np.argsort(overlaps, kind="stable")[::-1]
        chosen = next((g for g in order if overlaps[g] >= threshold and g not in taken), None)
        if chosen is not None:
            taken.add(chosen)
        expected.append(-1 if chosen is None else chosen)
    before = tiou.copy()
    assert match(tiou, threshold).tolist() == expected
    np.testing.assert_array_equal(tiou, before)


def test_which_segment_is_taken() -> None:
    # by falling score: best overlap; second best as the best is taken; of equal overlaps the later; nothing left
    tiou = np.array([[0.6, 0.9, 0.6, 0.2], [0.6, 0.9, 0.5, 0.2], [0.5, 0.1, 0.5, 0.5], [0.9, 0.9, 0.4, 0.4]])
    assert match(tiou, 0.5).tolist() == [1, 0, 3, -1]
    assert match(tiou[:, :0], 0.5).tolist() == [-1] * 4


@given(st.lists(st.booleans(), max_size=12), st.integers(0, 4))
def test_average_precision_is_the_area_under_the_interpolated_curve(hits: list[bool], missed: int) -> None:
    positives = max(sum(hits) + missed, 1)
    found = np.cumsum(hits)
    recall = [0.0, *(found / positives), 1.0]
    precision = [0.0, *(found / np.arange(1, len(hits) + 1)), 0.0]
    area = sum((recall[i] - recall[i - 1]) * max(precision[i:]) for i in range(1, len(recall)))
    np.testing.assert_allclose(average_precision(np.array(hits, bool), positives), area, atol=1e-12)


def test_average_precision_by_hand() -> None:
    # hit, miss, hit, two positives: (1 + 2/3) / 2; miss, hit, hit, four positives: (2/3 + 2/3) / 4
    hits = np.array([[True, False, True], [False, True, True]])
    np.testing.assert_allclose(average_precision(hits, 2), [5 / 6, 2 / 3])
    np.testing.assert_allclose(average_precision(hits[1], 4), 1 / 3)


def test_mean_over_classes_then_thresholds() -> None:
    ground_truth = {"v": truth((0, 10, 0), (20, 30, 0)), "w": truth((0, 10, 1), (0, 10, 2))}
    found = {
        # Dive, ranked over both videos: 0.9 hits, 0.8 (another video) misses, 0.7 covers 8/10 of [20, 30]
        "v": detections([(20, 28, 0.7, 0), (0, 10, 0.9, 0)]),
        # Jump: 0.6 hits; a second one on the same segment misses. Swim: nothing.
        "w": detections([(0, 10, 0.8, 0), (0, 10, 0.6, 1), (0, 10, 0.5, 1)]),
    }
    metrics = mean_average_precision(ground_truth, found, (0.8, 0.81), CLASSES)
    np.testing.assert_allclose(metrics.per_class, np.array([[5 / 6, 1 / 2], [1, 1], [0, 0]]))
    np.testing.assert_allclose(metrics.map, [(5 / 6 + 1) / 3, 0.5])
    assert metrics.average_map == pytest.approx(((5 / 6 + 1) / 3 + 0.5) / 2)
    assert metrics.classes == ("Dive", "Jump", "Swim")
    assert metrics.tious == (0.8, 0.81)
    assert (metrics.segments, metrics.detections, metrics.unknown_label, metrics.unknown_video) == (4, 5, 0, 0)


def test_of_equal_overlaps_the_later_segment_is_taken() -> None:
    # [5, 15] overlaps both by 1/3. If it takes [10, 20], the exact detection of that one has nothing left.
    found = {"v": detections([(5, 15, 0.9, 0), (10, 20, 0.8, 0)])}
    assert mean_average_precision({"v": truth((0, 10, 0), (10, 20, 0))}, found, [0.3], CLASSES).average_map == 0.5
    assert mean_average_precision({"v": truth((10, 20, 0), (0, 10, 0))}, found, [0.3], CLASSES).average_map == 1.0


def test_a_second_best_segment_counts() -> None:
    # Both detections overlap [0, 10] most; the second takes [1, 11], which it overlaps by 9/11
    found = {"v": detections([(0, 10, 0.9, 0), (0, 10, 0.8, 0)])}
    ground_truth = {"v": truth((0, 10, 0), (1, 11, 0))}
    np.testing.assert_array_equal(mean_average_precision(ground_truth, found, [0.8, 0.82], CLASSES).map, [1.0, 0.5])


def test_equal_scores_are_ranked_in_the_order_given() -> None:
    miss, hit = (50, 60, 0.5, 0), (0, 10, 0.5, 0)
    ground_truth = {"v": truth((0, 10, 0)), "w": truth((0, 10, 1))}
    assert mean_average_precision(ground_truth, {"v": detections([hit, miss])}, [0.5], CLASSES).per_class[0] == 1
    assert mean_average_precision(ground_truth, {"v": detections([miss, hit])}, [0.5], CLASSES).per_class[0] == 0.5
    # the order of videos as well
    apart = {"w": detections([miss]), "v": detections([hit])}
    assert mean_average_precision(ground_truth, apart, [0.5], CLASSES).per_class[0] == 0.5


def test_what_is_unknown_is_counted() -> None:
    ground_truth = {"v": truth((0, 10, 0), (0, 10, 0))}
    found = {
        "elsewhere": detections([(0, 10, 0.9, 0), (0, 10, 0.9, 2)]),  # the first: a false positive above the hit
        "v": detections([(0, 10, 0.8, 0), (0, 10, 0.95, 1)]),
    }
    metrics = mean_average_precision(ground_truth, found, [0.5], CLASSES)
    assert metrics.classes == ("Dive",)
    assert metrics.average_map == 0.5
    assert (metrics.segments, metrics.dropped_segments) == (1, 1)
    assert (metrics.detections, metrics.unknown_label, metrics.unknown_video) == (2, 2, 1)


def test_no_detections_at_all_score_zero() -> None:
    for found in ({}, {"v": detections([])}):
        np.testing.assert_array_equal(
            mean_average_precision({"v": truth((0, 10, 0))}, found, [0.3, 0.5], CLASSES).map, [0, 0]
        )


def test_refuses_nothing_to_measure() -> None:
    with pytest.raises(UserError, match=r"ground truth .* 1 videos, 0 segments"):
        mean_average_precision({"v": (np.empty((0, 2)), np.empty(0, int))}, {}, [0.5], CLASSES)
    with pytest.raises(UserError, match=r"tIoU thresholds .*empty.*at least one"):
        mean_average_precision({"v": truth((0, 10, 0))}, {}, [], CLASSES)
