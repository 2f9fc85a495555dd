"""The points, which are the positions of every pyramid level, in units of the finest grid."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from adatad_jax.models.sizes import DetectorConfig


class Points(NamedTuple):
    """P points, level by level, finest first; all arrays are `[P]` float32 in grid positions.

    Attributes:
      position: position of the point.
      low, high: regression range of the point's level.
      stride: stride of the point's level.
    """

    position: np.ndarray
    low: np.ndarray
    high: np.ndarray
    stride: np.ndarray


def make_points(config: DetectorConfig, length: int) -> Points:
    """Makes the points of a window of `length` grid positions (padding included), at `i * stride` on each level."""
    columns: list[tuple[np.ndarray, ...]] = []
    for stride, (low, high) in zip(config.strides, config.regression_ranges, strict=True):
        position = np.arange(length // stride, dtype=np.float32) * stride
        columns.append((position, *(np.full_like(position, value) for value in (low, high, stride))))
    return Points(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def to_segments(points: Points, distances: jax.Array) -> jax.Array:
    """Converts boundary distances `[..., P, 2]` in strides to segments `[..., P, 2]` in grid positions."""
    start = points.position - distances[..., 0] * points.stride
    end = points.position + distances[..., 1] * points.stride
    return jnp.stack([start, end], -1)


def regression_ranges(levels: int, overlapping: bool = False) -> tuple[tuple[int, int], ...]:
    """Returns the range of distances that each level regresses, in grid positions.

    The first range ends at 4, and each further end is twice the one before; the last range ends at 10000.

    Args:
      levels: number of levels L.
      overlapping: whether a range starts at half the end of the range below, instead of at that end.
    """
    ends = [4 * 2**level for level in range(levels - 1)]
    starts = [end // 2 if overlapping else end for end in ends]
    return tuple(zip([0, *starts], [*ends, 10000], strict=True))
