"""Targets computed by hand, for cases that the reference files do not show."""

import numpy as np
import pytest

from adatad_jax.detection.points import make_points
from adatad_jax.detection.targets import Targets, assign_targets
from tests import records

CONFIG = records.detector_config(classes=3, max_length=64)
POINTS = make_points(CONFIG, 64)


def assign(segments: list[tuple[float, float]], labels: list[int], **options: bool) -> Targets:
    rows = np.array(segments, np.float32).reshape(1, -1, 2)
    mask = np.ones((1, len(POINTS.position)), bool)
    return assign_targets(POINTS, mask, rows, np.array([labels]), CONFIG.classes, **options)


def index(level: int, position: int) -> int:
    start = sum(64 // stride for stride in CONFIG.strides[:level])
    return start + position // CONFIG.strides[level]


def test_points_are_multiples_of_the_stride_without_offset() -> None:
    level1 = slice(64, 64 + 32)
    np.testing.assert_array_equal(POINTS.position[level1], np.arange(0, 64, 2))
    assert set(POINTS.stride[level1]) == {2}
    assert (POINTS.low[level1][0], POINTS.high[level1][0]) == (4, 8)


def test_similar_lengths_share_a_point_and_longer_ones_do_not() -> None:
    """Uses lengths 4, 4.0005 (within 1e-3 of the shortest) and 4.002 (not)."""
    targets = assign([(8.0, 12.0), (8.0, 12.0005), (8.0, 12.002)], [0, 1, 2])
    np.testing.assert_array_equal(targets.classes[0, index(0, 10)], [1, 1, 0])
    every = assign([(8.0, 12.0), (8.0, 12.0005), (8.0, 12.002)], [0, 1, 2], all_candidates=True)
    np.testing.assert_array_equal(every.classes[0, index(0, 10)], [1, 1, 1])


def test_the_shortest_gives_the_boundaries_in_strides() -> None:
    # Level 1 (stride 2, range 4 to 8): the point at 20 is 4 from start and 6 from end of the shorter segment.
    targets = assign([(14.0, 27.0), (16.0, 26.0)], [0, 1])
    np.testing.assert_array_equal(targets.distances[0, index(1, 20)], [2, 3])
    np.testing.assert_array_equal(targets.classes[0, index(1, 20)], [0, 1, 0])


def test_a_point_exactly_one_and_a_half_strides_from_the_centre_is_negative() -> None:
    # Level 1: centre 21, so 18 is 3 = 1.5 strides away, 20 and 22 are 1.
    positive = assign([(15.0, 27.0)], [0]).positive[0]
    assert not positive[index(1, 18)]
    assert positive[index(1, 20)]
    assert positive[index(1, 22)]
    assert not positive[index(1, 24)]


def test_a_point_on_a_boundary_is_outside() -> None:
    # Centre 10.5: the points 10 and 11 lie on the boundaries or within; a segment from 10 excludes the point 10.
    positive = assign([(10.0, 11.5)], [0]).positive[0]
    assert not positive[index(0, 10)]
    assert positive[index(0, 11)]


def test_regression_ranges_are_closed() -> None:
    # Centre 20, distances 4 and 4 at 20: the ranges of level 0 (to 4) and of level 1 (from 4) both take it.
    positive = assign([(16.0, 24.0)], [0]).positive[0]
    assert positive[index(0, 20)]
    assert positive[index(1, 20)]
    assert not positive[index(0, 19)]  # 5 from the end


@pytest.mark.parametrize("segment", [(10.0, 10.0), (10.2, 10.3)])
def test_a_segment_between_points_or_of_no_length_matches_nothing(segment: tuple[float, float]) -> None:
    assert not assign([segment], [0]).positive.any()


def test_padding_rows_and_invalid_points_are_never_positive() -> None:
    rows = np.array([[[8, 12], [30, 34]]], np.float32)
    mask = (np.asarray(POINTS.position) < 20)[None]
    targets = assign_targets(POINTS, mask, rows, np.array([[0, -1]]), 3)
    where = np.unique(POINTS.position[np.asarray(targets.positive[0])])
    np.testing.assert_array_equal(where, [9, 10, 11])


def test_a_sample_without_segments_has_zero_targets() -> None:
    targets = assign([(0.0, 0.0)], [-1])
    assert not np.asarray(targets.positive).any()
    assert not np.asarray(targets.distances).any()
    assert not np.asarray(targets.classes).any()
