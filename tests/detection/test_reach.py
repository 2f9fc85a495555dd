"""The levels that can learn a segment, against the targets of windows at every place."""

import jax.numpy as jnp
import numpy as np

from adatad_jax.detection.points import make_points
from adatad_jax.detection.reach import levels_of_segments
from adatad_jax.detection.targets import assign_targets
from tests import records

CONFIG = records.detector_config(
    classes=1, branch=3, windows=(None,) * 4, regression_ranges=((0, 4), (4, 8), (9, 16), (16, 40))
)
LENGTH = 128


def levels_by_targets(segments: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Returns `[G, L]`: whether a point is positive in some window that starts at one of these positions."""
    points = make_points(CONFIG, LENGTH)
    found = np.zeros((len(segments), len(CONFIG.strides)), bool)
    labels, mask = jnp.zeros((len(segments), 1), int), jnp.ones((len(segments), len(points.stride)), bool)
    for start in starts:
        inside = jnp.asarray(segments[:, None] - start, jnp.float32)
        positive = np.asarray(assign_targets(points, mask, inside, labels, 1).positive)
        for level, stride in enumerate(CONFIG.strides):
            found[:, level] |= positive[:, points.stride == stride].any(1)
    return found


def random_segments() -> np.ndarray:
    """Draws segments of all lengths up to 100, on quarters of positions, as for frames sampled with stride 4."""
    rng = np.random.default_rng(0)
    lengths = np.concatenate([np.arange(0, 100, 0.25), rng.integers(0, 24, 200) / 4])
    first = 100 + rng.integers(0, 64, len(lengths)) / 4
    return np.stack([first, first + lengths], 1).astype(np.float32)


def test_windows_that_start_at_whole_positions() -> None:
    segments = random_segments()
    expected = levels_by_targets(segments, 90 + np.arange(0, 9))  # all phases of the coarsest stride
    assert 0 < expected.any(1).mean() < 1
    found = levels_of_segments(segments, CONFIG, length=LENGTH, starts_per_position=1)
    np.testing.assert_array_equal(found, expected)


def test_windows_that_start_between_positions() -> None:
    """Uses two frames per position: a window can start at either."""
    segments = random_segments()
    found = levels_of_segments(segments, CONFIG, length=LENGTH, starts_per_position=2)
    np.testing.assert_array_equal(found, levels_by_targets(segments, 90 + np.arange(0, 18) / 2))
    assert (found != levels_of_segments(segments, CONFIG, length=LENGTH, starts_per_position=1)).any()


def test_a_window_that_is_the_whole_video_starts_at_its_start() -> None:
    segments = random_segments() - 90
    segments = segments[segments[:, 1] < LENGTH]
    found = levels_of_segments(segments, CONFIG, length=LENGTH, starts_per_position=0)
    np.testing.assert_array_equal(found, levels_by_targets(segments, np.zeros(1)))


def test_worked_by_hand() -> None:
    """Checks four segments.

    No position is strictly inside 10.25 to 10.75; 11 is inside 10.25 to 11.5. The middle of 10 to 24 is 7 from both
    ends, for the second level, and 19 is 9 from one end, for the third. Half of 85 is beyond the last range, 40.
    """
    segments = np.array([[10.25, 10.75], [10.25, 11.5], [10, 24], [10, 95]], np.float32)
    found = levels_of_segments(segments, CONFIG, length=LENGTH, starts_per_position=1)
    assert found.tolist() == [[False] * 4, [True, False, False, False], [False, True, True, False], [False] * 4]


def test_no_segments() -> None:
    found = levels_of_segments(np.zeros((0, 2), np.float32), CONFIG, length=LENGTH, starts_per_position=1)
    assert found.shape == (0, 4)
