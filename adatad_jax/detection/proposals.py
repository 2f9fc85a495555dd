"""Predictions of all levels to scored segments in grid positions."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from adatad_jax.detection.points import make_points, to_segments
from adatad_jax.models.adatad import Predictions
from adatad_jax.models.sizes import DetectorConfig


class Proposals(NamedTuple):
    """Per point: `segments` `[B, P, 2]` float32 in grid positions, `scores` `[B, P, K]` in [0, 1], `mask` `[B, P]`."""

    segments: jax.Array
    scores: jax.Array
    mask: jax.Array


def flatten_levels(predictions: Predictions) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Logits `[B, P, K]`, distances `[B, P, 2]` and mask `[B, P]` of all levels, finest first."""
    return (
        jnp.concatenate(predictions.logits, 1),
        jnp.concatenate(predictions.distances, 1),
        jnp.concatenate(predictions.masks, 1),
    )


def decode(config: DetectorConfig, predictions: Predictions) -> Proposals:
    """Segments `point -+ distance * stride`, not clipped, and sigmoid scores."""
    logits, distances, mask = flatten_levels(predictions)
    points = make_points(config, predictions.masks[0].shape[1])
    return Proposals(to_segments(points, distances), jax.nn.sigmoid(logits), mask)
