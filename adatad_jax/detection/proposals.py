"""Decoding of the predictions of all levels to scored segments in grid positions."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from adatad_jax.detection.points import make_points, to_segments
from adatad_jax.models.adatad import Predictions
from adatad_jax.models.sizes import DetectorConfig


class Proposals(NamedTuple):
    """Scored segments, one per point.

    Attributes:
      segments: `[B, P, 2]` float32 start and end, grid positions.
      scores: `[B, P, K]` float32 class scores in [0, 1].
      mask: `[B, P]` bool, valid points.
    """

    segments: jax.Array
    scores: jax.Array
    mask: jax.Array


def flatten_levels(predictions: Predictions) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Joins all levels, finest first: returns logits `[B, P, K]`, distances `[B, P, 2]` and mask `[B, P]`."""
    return (
        jnp.concatenate(predictions.logits, 1),
        jnp.concatenate(predictions.distances, 1),
        jnp.concatenate(predictions.masks, 1),
    )


def decode(config: DetectorConfig, predictions: Predictions) -> Proposals:
    """Decodes predictions to segments `point -+ distance * stride`, not clipped, and sigmoid scores."""
    logits, distances, mask = flatten_levels(predictions)
    points = make_points(config, predictions.masks[0].shape[1])
    return Proposals(to_segments(points, distances), jax.nn.sigmoid(logits), mask)
