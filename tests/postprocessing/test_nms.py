import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adatad_jax.postprocessing.nms import hard_nms, nms_video, soft_nms, vote_segments
from tests import records

# [0, 10] and [0, 5] overlap by 5/10; [20, 30] is apart from both.
SEGMENTS = np.array([[0, 5], [0, 10], [20, 30]], np.float32)
SCORES = np.array([0.8, 0.9, 0.6], np.float32)


@st.composite
def candidates(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Draws few distinct starts, lengths and scores, so that ties, duplicates and empty segments are common."""
    rows = draw(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 10), st.integers(0, 8)), max_size=25))
    table = np.array(rows, np.float32).reshape(-1, 3)
    return np.stack([table[:, 0], table[:, 0] + table[:, 1]], axis=1), table[:, 2] / 8


def tiou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Computes the tIoU of all pairs in float32, with 1e-6 added to each length."""
    length = lambda s: s[:, 1] - s[:, 0] + np.float32(1e-6)  # noqa: E731
    inter = np.maximum(np.minimum(a[:, None, 1], b[None, :, 1]) - np.maximum(a[:, None, 0], b[None, :, 0]), 0)
    return inter / (length(a)[:, None] + length(b)[None] - inter)


@pytest.mark.parametrize(
    ("method", "options", "factor"),
    [
        ("gaussian", {"sigma": 0.5}, math.exp(-(0.5**2) / 0.5)),
        ("linear", {"iou_threshold": 0.4999}, 1 - 0.5),
        ("linear", {"iou_threshold": 0.5}, 1.0),  # 1e-6 on every length keeps the overlap just below 5/10
        ("hard", {"iou_threshold": 0.4999}, 0.0),
        ("hard", {"iou_threshold": 0.5}, 1.0),
        (
            "improved_gaussian",
            {"sigma": 0.5, "t1": 0.1, "t2": 0.03},
            math.exp(-(0.5**2) / 0.5),
        ),  # 0.1 + 0.03 * 10 <= 0.5
        ("improved_gaussian", {"sigma": 0.5, "t1": 0.3, "t2": 0.03}, 1.0),  # 0.3 + 0.03 * 10 > 0.5
    ],
)
def test_soft_nms_decay(method: str, options: dict[str, float], factor: float) -> None:
    indices, scores = soft_nms(SEGMENTS, SCORES, method=method, **options)  # type: ignore[arg-type]
    expected = {1: 0.9, 0: 0.8 * factor, 2: 0.6}
    assert indices.tolist() == sorted(expected, key=lambda i: -expected[i])
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, sorted(expected.values(), reverse=True), rtol=1e-5)


def test_soft_nms_drops_below_min_score_but_never_the_first() -> None:
    # 0.8 decays to 0.8 * exp(-0.5) = 0.485
    assert soft_nms(SEGMENTS, SCORES, method="gaussian", min_score=0.48)[0].tolist() == [1, 2, 0]
    assert soft_nms(SEGMENTS, SCORES, method="gaussian", min_score=0.49)[0].tolist() == [1, 2]
    assert soft_nms(SEGMENTS, SCORES, method="gaussian", min_score=0.95)[0].tolist() == [1]


def test_soft_nms_takes_equal_scores_in_the_order_that_swapping_leaves() -> None:
    apart = np.array([[0, 1], [2, 3], [4, 5], [6, 7]], np.float32)
    # 2 is taken first and changes places with 0: 2 | 1 0 3
    assert soft_nms(apart, np.array([0.5, 0.5, 0.9, 0.5]), method="gaussian")[0].tolist() == [2, 1, 0, 3]
    # 0 is taken; 1 lies in it and is dropped, and the last one fills its place: 0 | 3 2
    nested = np.array([[0, 1], [0, 1], [4, 5], [6, 7]], np.float32)
    indices, _ = soft_nms(nested, np.array([0.9, 0.5, 0.5, 0.5]), method="hard", iou_threshold=0.5, min_score=0.1)
    assert indices.tolist() == [0, 3, 2]


@given(candidates(), st.sampled_from(["gaussian", "linear", "hard", "improved_gaussian"]), st.integers(1, 30))
def test_soft_nms_properties(given_: tuple[np.ndarray, np.ndarray], method: str, limit: int) -> None:
    segments, scores = given_
    options = {"method": method, "iou_threshold": 0.3, "t1": 0.1, "t2": 0.01}
    indices, kept = soft_nms(segments, scores, **options)  # type: ignore[arg-type]
    assert sorted(indices) == list(range(len(scores)))  # min_score 0 drops nothing
    assert (np.diff(kept) <= 0).all()
    assert (kept <= scores[indices]).all()
    first_indices, first_kept = soft_nms(segments, scores, max_num=limit, **options)  # type: ignore[arg-type]
    np.testing.assert_array_equal(first_indices, indices[:limit])
    np.testing.assert_array_equal(first_kept, kept[:limit])


@given(candidates())
def test_soft_nms_score_is_the_product_of_the_decays_of_those_before(given_: tuple[np.ndarray, np.ndarray]) -> None:
    segments, scores = given_
    indices, kept = soft_nms(segments, scores, method="gaussian", sigma=0.7)
    decays = np.exp(-(tiou(segments[indices], segments[indices]) ** 2) / np.float32(0.7))
    expected = [scores[i] * math.prod(decays[:n, n].tolist()) for n, i in enumerate(indices)]
    np.testing.assert_allclose(kept, expected, rtol=1e-4, atol=1e-9)


@given(candidates(), st.sampled_from([0.1, 0.5, 0.9]), st.sampled_from([0.0, 0.25]))
def test_hard_nms_keeps_exactly_what_no_better_one_suppresses(
    given_: tuple[np.ndarray, np.ndarray], threshold: float, min_score: float
) -> None:
    segments, scores = given_
    kept = hard_nms(segments, scores, iou_threshold=threshold, min_score=min_score)
    ranked = [i for i in np.argsort(-scores, kind="stable") if min_score == 0 or scores[i] > min_score]
    overlap = tiou(segments, segments)
    expected: list[int] = []
    for i in ranked:
        if all(overlap[i, j] < threshold for j in expected):
            expected.append(i)
    assert kept.tolist() == expected
    assert hard_nms(segments, scores, iou_threshold=threshold, min_score=min_score, max_num=2).tolist() == expected[:2]


def test_voting_is_the_mean_weighted_by_scores_of_those_at_the_threshold() -> None:
    # [0, 10] is overlapped by itself and, exactly at 0.5, by [0, 5]: end (0.9 * 10 + 0.8 * 5) / 1.7
    voted = vote_segments(SEGMENTS[1:], SEGMENTS, SCORES, 0.5)
    np.testing.assert_allclose(voted, np.array([[0, 13 / 1.7], [20, 30]]), rtol=1e-6)
    np.testing.assert_array_equal(vote_segments(SEGMENTS[1:], SEGMENTS, SCORES, 0.51), SEGMENTS[1:])
    assert voted.dtype == np.float32


def test_voting_without_votes_leaves_the_segment() -> None:
    empty = np.array([[3, 3]], np.float32)
    np.testing.assert_array_equal(vote_segments(empty, empty, np.ones(1), 0.7), empty)  # tIoU 0/0
    np.testing.assert_array_equal(vote_segments(SEGMENTS, SEGMENTS, np.zeros(3), 0.7), SEGMENTS)  # weights 0/0


def test_voting_does_not_depend_on_how_many_are_kept() -> None:
    rng = np.random.default_rng(0)
    start = rng.uniform(0, 100, 700).astype(np.float32)
    segments = np.stack([start, start + rng.uniform(1, 9, 700).astype(np.float32)], axis=1)
    scores = rng.uniform(size=700).astype(np.float32)
    alone = [vote_segments(segments[[i]], segments, scores, 0.6)[0] for i in (0, 300, 699)]
    np.testing.assert_allclose(vote_segments(segments, segments, scores, 0.6)[[0, 300, 699]], alone, rtol=1e-5)


def test_nms_video_by_class_or_over_all() -> None:
    labels = np.array([1, 0, 1])
    soft = records.nms_settings(sigma=0.5)
    # Of different classes, [0, 5] and [0, 10] do not touch each other.
    segments, scores, kept_labels = nms_video(SEGMENTS, SCORES, labels, soft)
    np.testing.assert_array_equal(segments, SEGMENTS[[1, 0, 2]])
    np.testing.assert_array_equal(scores, SCORES[[1, 0, 2]])
    assert kept_labels.tolist() == [0, 1, 1]
    _, scores, kept_labels = nms_video(SEGMENTS, SCORES, labels, records.nms_settings(sigma=0.5, multiclass=False))
    np.testing.assert_allclose(scores, [0.9, 0.6, 0.8 * math.exp(-0.5)], rtol=1e-6)
    assert kept_labels.tolist() == [0, 1, 1]
    hard = records.nms_settings(use_soft_nms=False, iou_threshold=0.4, multiclass=False)
    assert nms_video(SEGMENTS, SCORES, labels, hard)[1].tolist() == SCORES[[1, 2]].tolist()


def test_nms_video_caps_each_class_and_all() -> None:
    labels = np.array([1, 0, 1])
    _, scores, _ = nms_video(SEGMENTS, SCORES, labels, records.nms_settings(max_seg_num=2))
    np.testing.assert_array_equal(scores, SCORES[[1, 0]])


@given(candidates(), st.integers(1, 4), st.integers(1, 12), st.sampled_from([0.0, 0.2]))
def test_nms_video_is_the_nms_of_each_class_sorted(
    given_: tuple[np.ndarray, np.ndarray], classes: int, most: int, least: float
) -> None:
    segments, scores = given_
    labels = np.arange(len(scores)) % classes
    settings = records.nms_settings(use_soft_nms=True, multiclass=True, max_seg_num=most, min_score=least)
    every: list[tuple[float, int, int]] = []
    for label in range(classes):
        own = np.flatnonzero(labels == label)
        indices, kept = soft_nms(
            segments[own], scores[own], method="gaussian", sigma=settings.sigma, min_score=least, max_num=most
        )
        every += [(-score, label, index) for score, index in zip(kept.tolist(), own[indices].tolist(), strict=True)]
    expected = sorted(every, key=lambda one: one[0])[:most]  # equal scores by class, then as NMS orders them
    found_segments, found_scores, found_labels = nms_video(segments, scores, labels, settings)
    assert found_scores.tolist() == [-score for score, _, _ in expected]
    assert found_labels.tolist() == [label for _, label, _ in expected]
    np.testing.assert_array_equal(found_segments, segments[np.array([index for _, _, index in expected], int)])


def test_nms_video_votes_only_over_all_classes() -> None:
    labels = np.zeros(3, int)
    voting = records.nms_settings(use_soft_nms=False, iou_threshold=0.4, voting_thresh=0.5, multiclass=False)
    np.testing.assert_allclose(nms_video(SEGMENTS, SCORES, labels, voting)[0][0], [0, 13 / 1.7], rtol=1e-6)
    by_class = records.nms_settings(use_soft_nms=False, iou_threshold=0.4, voting_thresh=0.5)
    np.testing.assert_array_equal(nms_video(SEGMENTS, SCORES, labels, by_class)[0], SEGMENTS[1:])


@pytest.mark.parametrize("multiclass", [True, False])
def test_nms_video_of_nothing(multiclass: bool) -> None:
    settings = records.nms_settings(multiclass=multiclass, voting_thresh=0.7)
    segments, scores, labels = nms_video(np.empty((0, 2)), np.empty(0), np.empty(0, int), settings)
    assert segments.shape == (0, 2)
    assert scores.shape == labels.shape == (0,)
