from functools import partial

import numpy as np
import pytest

from adatad_jax.data.windows import to_seconds
from adatad_jax.errors import UserError
from adatad_jax.postprocessing.detections import (
    Detections,
    merge_windows,
    round_detections,
    window_candidates,
    window_detections,
)
from tests import records

PROPOSALS = np.array([[0, 4], [10, 20]], np.float32)
SCORES = np.array([[0.5, 0.001, 0.75], [0.5, 0.25, 0.0625]], np.float32)
IN_SECONDS = partial(to_seconds, stride=5, window_start_frame=0, fps=10.0, duration=100.0)


def rows(detections: Detections) -> list[tuple[float, float, float, int]]:
    return [
        (*segment, score, label)
        for segment, score, label in zip(
            detections.segments.tolist(), detections.scores.tolist(), detections.labels.tolist(), strict=True
        )
    ]


def test_candidates_are_the_best_pairs_of_point_and_class() -> None:
    segments, scores, labels = window_candidates(PROPOSALS, SCORES, threshold=0.0625, topk=10)
    # 0.0625 is not above the threshold; the two scores of 0.5 keep the order of their points
    assert scores.tolist() == [0.75, 0.5, 0.5, 0.25]
    assert labels.tolist() == [2, 0, 0, 1]
    assert segments.tolist() == [[0, 4], [0, 4], [10, 20], [10, 20]]
    assert segments.dtype == scores.dtype == np.float32
    assert window_candidates(PROPOSALS, SCORES, threshold=0.0625, topk=2)[1].tolist() == [0.75, 0.5]
    assert window_candidates(PROPOSALS, SCORES, threshold=0.9, topk=2)[0].shape == (0, 2)


def test_the_threshold_is_compared_in_float32() -> None:
    # float32(0.001) is 0.00100000005: above 0.001 as float64, not as float32
    assert SCORES[0, 1].item() > 0.001
    assert window_candidates(PROPOSALS[:1], SCORES[:1], threshold=0.001, topk=10)[1].tolist() == [0.75, 0.5]


def test_a_one_class_model_keeps_every_point() -> None:
    segments, scores, labels = window_candidates(PROPOSALS, SCORES[:, 1:2], threshold=0.1, topk=1)
    assert segments.tolist() == PROPOSALS.tolist()
    assert scores.tolist() == SCORES[:, 1].tolist()
    assert labels.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("proposals", "scores", "found"),
    [
        (PROPOSALS, np.where(SCORES == 0.25, np.nan, SCORES), "1 of 6 scores and 0 of 4 boundaries"),
        (np.where(PROPOSALS == 4, np.inf, PROPOSALS), SCORES, "0 of 6 scores and 1 of 4 boundaries"),
    ],
)
def test_non_finite_outputs_are_refused(proposals: np.ndarray, scores: np.ndarray, found: str) -> None:
    with pytest.raises(UserError, match=found):
        window_candidates(proposals, scores, threshold=0.001, topk=10)


def test_rounding_is_pythons() -> None:
    # 2.675 is 2.67499999999999982 in binary: numpy.round multiplies by 100 first and gives 2.68
    rounded = round_detections(Detections(np.array([[2.675, 3.004]]), np.array([0.00005]), np.array([0])))
    assert rows(rounded) == [(2.67, 3.0, 0.0001, 0)]


def test_a_window_in_seconds() -> None:
    settings = records.post_processing(pre_nms_thresh=0.3)
    scores = np.array([[0.12345678, 0.9], [0.6, 0.0]], np.float32)
    assert rows(window_detections(PROPOSALS, scores, settings, IN_SECONDS)) == [(0, 2, 0.9, 1), (5, 10, 0.6, 0)]
    precise = records.post_processing(pre_nms_thresh=0.1, rounded=False)
    found = window_detections(PROPOSALS / 3, scores, precise, IN_SECONDS)
    assert found.scores.tolist() == [np.float32(v) for v in (0.9, 0.6, 0.12345678)]
    assert found.segments[1].tolist() == [
        np.float32(10) / np.float32(3) * 5 / 10,
        np.float32(20) / np.float32(3) * 5 / 10,
    ]


def test_sliding_windows_are_joined_then_reduced() -> None:
    settings = records.post_processing(nms=records.nms_settings(use_soft_nms=False, iou_threshold=0.5))
    first = Detections(np.array([[0, 10], [30, 40]]), np.array([0.5, 0.7]), np.array([0, 0]))
    second = Detections(np.array([[0, 9], [0, 9]]), np.array([0.6, 0.1]), np.array([0, 1]))
    # [0, 10] and [0, 9] overlap by 0.9: the better one stays, whichever window it is from
    assert rows(merge_windows([first, second], settings)) == [(30, 40, 0.7, 0), (0, 9, 0.6, 0), (0, 9, 0.1, 1)]
    apart = records.post_processing(nms=settings.nms, sliding_window=False)
    assert rows(merge_windows([first, second], apart)) == rows(first) + rows(second)
    assert rows(merge_windows([], settings)) == []


def test_without_sliding_windows_nms_comes_first_in_grid_units() -> None:
    # tIoU 3/8 on the grid; a position is 0.5 s, and clipped to 1.5 s they are [0, 1.5] and [0.5, 1.5]: tIoU 2/3
    proposals = np.array([[0, 4], [1, 8]], np.float32)
    scores = np.array([[0.9], [0.8]], np.float32)
    nms = records.nms_settings(use_soft_nms=False, iou_threshold=0.5)
    seconds = partial(to_seconds, stride=5, window_start_frame=0, fps=10.0, duration=1.5)
    whole = records.post_processing(nms=nms, sliding_window=False)
    sliding = records.post_processing(nms=nms)
    assert len(merge_windows([window_detections(proposals, scores, whole, seconds)], whole)) == 2
    assert len(merge_windows([window_detections(proposals, scores, sliding, seconds)], sliding)) == 1


@pytest.mark.parametrize("sliding", [True, False])
def test_classes_come_after_seconds_and_before_rounding(sliding: bool) -> None:
    given: list[Detections] = []

    def classify(found: Detections) -> Detections:
        given.append(found)
        return Detections(found.segments, found.scores / 3, found.labels + 5)

    settings = records.post_processing(
        nms=records.nms_settings(use_soft_nms=False, iou_threshold=0.5), sliding_window=sliding
    )
    window = window_detections(PROPOSALS[1:], SCORES[1:, :1], settings, IN_SECONDS, classify)
    assert rows(given[0]) == [(5, 10, 0.5, 0)]
    assert rows(window) == [(5, 10, 0.1667, 5)]


def test_merging_rounds_after_nms_or_not_at_all() -> None:
    nms = records.nms_settings(sigma=0.5)
    window = Detections(np.array([[0, 1.0], [0, 0.5]]), np.array([0.5, 0.4]), np.array([0, 0]))
    # tIoU 0.5: 0.4 * exp(-0.25 / 0.5) = 0.242612...
    assert merge_windows([window], records.post_processing(nms=nms)).scores.tolist() == [0.5, 0.2426]
    precise = merge_windows([window], records.post_processing(nms=nms, rounded=False)).scores
    np.testing.assert_allclose(precise, [0.5, 0.4 * np.exp(-0.5)], rtol=1e-5)
    assert precise[1] != 0.2426


def test_detections_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"1 segments.*scores \(2,\).*labels \(1,\)"):
        Detections(np.array([[0, 1]]), np.array([0.5, 0.5]), np.array([0]))
