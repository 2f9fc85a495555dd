"""The pyramid levels that can learn a segment at all, wherever its training window lies."""

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from adatad_jax.detection.points import Points, make_points
from adatad_jax.detection.targets import CENTRE_RADIUS, assign_targets
from adatad_jax.models.sizes import DetectorConfig

_ROWS = 128  # segments matched at a time


def levels_of_segments(
    segments: NDArray[np.floating], config: DetectorConfig, *, length: int, starts_per_position: int
) -> NDArray[np.bool_]:
    """Finds the levels on which each segment, alone in its window, is a candidate of some point (`targets`).

    Neighbouring points of a level are one stride apart, but windows start anywhere: over all windows, a level has a
    point wherever a window can start. A segment that is a candidate on no level is never learned.

    Args:
      segments: `[G, 2]` start and end, grid positions of the video.
      config: the detector, for its strides and regression ranges.
      length: length of a window, grid positions; longer segments are cut to it.
      starts_per_position: number of places per grid position where a window can start; 0 if it starts only at position
        0, as when a window is the whole video.

    Returns:
      `[G, L]` bool.
    """
    segments = np.asarray(segments, np.float64)
    if starts_per_position:
        points = _points_everywhere(config, starts_per_position)
        segments = np.stack([segments[:, 0], np.minimum(segments[:, 1], segments[:, 0] + length)], 1)
        # Position 0 becomes the nearest place below the centre where a window can start.
        centre = np.floor(segments.mean(1) * starts_per_position) / starts_per_position
        segments = segments - centre[:, None]
    else:
        points = make_points(config, length)
    levels = np.searchsorted(config.strides, points.stride)
    found = np.zeros((len(segments), len(config.strides)), bool)
    for first in range(0, len(segments), _ROWS):
        part = np.zeros((_ROWS, 1, 2), np.float32)
        part[: len(segments) - first, 0] = segments[first : first + _ROWS]
        mask = jnp.ones((_ROWS, len(points.stride)), bool)
        positive = np.asarray(assign_targets(points, mask, jnp.asarray(part), jnp.zeros((_ROWS, 1), int), 1).positive)
        for level in range(len(config.strides)):
            found[first : first + _ROWS, level] = positive[: len(segments) - first, levels == level].any(1)
    return found


def _points_everywhere(config: DetectorConfig, starts_per_position: int) -> Points:
    """Makes points of every level wherever a window can start, as far from position 0 as centre sampling reaches."""
    columns: list[tuple[np.ndarray, ...]] = []
    for stride, (low, high) in zip(config.strides, config.regression_ranges, strict=True):
        reach = int(np.ceil(CENTRE_RADIUS * stride + 1)) * starts_per_position
        position = np.arange(-reach, reach + 1, dtype=np.float32) / starts_per_position
        columns.append((position, *(np.full_like(position, value) for value in (low, high, stride))))
    return Points(*(np.concatenate(column) for column in zip(*columns, strict=True)))
