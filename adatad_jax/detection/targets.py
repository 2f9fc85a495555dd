"""Targets per point: ActionFormer's centre sampling and regression ranges (arXiv 2202.07925, section 3.4)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from adatad_jax.detection.points import Points

CENTRE_RADIUS = 1.5  # strides
SIMILAR = 1e-3  # grid positions: candidates this close in length to the shortest contribute their class too


class Targets(NamedTuple):
    """Targets, one per point.

    Attributes:
      classes: `[B, P, K]` float32, multi-hot.
      distances: `[B, P, 2]` distances to start and end, in strides. They are not masked: a point without a candidate
        has the distances to the sample's first segment.
      positive: `[B, P]` bool, valid points with a candidate.
    """

    classes: jax.Array
    distances: jax.Array
    positive: jax.Array


def assign_targets(
    points: Points,
    mask: jax.Array,
    segments: jax.Array,
    labels: jax.Array,
    classes: int,
    all_candidates: bool = False,
) -> Targets:
    """Assigns ground-truth segments to points (arXiv 2202.07925, section 3.4).

    A segment is a candidate of a point if the point lies strictly inside the segment and strictly within 1.5 strides of
    its centre, and the larger of the distances to start and end lies in the closed range of the point's level. The
    shortest candidate gives the boundaries. Every candidate within 1e-3 of the shortest length gives its class.

    Args:
      points: the P points.
      mask: `[B, P]` bool, valid points; other points are never positive.
      segments: `[B, G, 2]` float32 start and end, grid positions.
      labels: `[B, G]` int class indices, negative for padding.
      classes: number of classes K.
      all_candidates: whether every candidate gives its class, not only the shortest ones (the release's
        `filter_similar_gt=False`).
    """
    position, low, high, stride = (column[None, :, None] for column in points)
    start, end = segments[:, None, :, 0], segments[:, None, :, 1]
    to_start, to_end = position - start, end - position  # [B, P, G]
    centre = 0.5 * (start + end)
    from_left = position - jnp.maximum(centre - stride * CENTRE_RADIUS, start)
    from_right = jnp.minimum(centre + stride * CENTRE_RADIUS, end) - position
    larger = jnp.maximum(to_start, to_end)
    real = labels[:, None, :] >= 0
    candidate = (jnp.minimum(from_left, from_right) > 0) & (larger >= low) & (larger <= high) & real

    length = jnp.where(candidate, end - start, jnp.inf)
    shortest = jnp.argmin(length, 2)
    contributes = candidate
    if not all_candidates:
        contributes &= length <= length.min(2, keepdims=True) + SIMILAR
    one_hot = jax.nn.one_hot(labels, classes)  # a negative label gives zeros
    multi_hot = jnp.minimum(
        jnp.einsum("bpg,bgk->bpk", contributes.astype(jnp.float32), one_hot, precision="highest"), 1
    )

    both = jnp.stack([to_start, to_end], -1)  # [B, P, G, 2]
    distances = jnp.take_along_axis(both, shortest[:, :, None, None], 2)[:, :, 0] / points.stride[:, None]
    distances = jnp.where(real.any(-1)[..., None], distances, 0)
    return Targets(multi_hot, distances, (multi_hot.sum(-1) > 0) & mask)
