"""What the training minimises: focal loss and DIoU loss over the points of windows, and what divides them."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from adatad_jax.detection.losses import loss_sums
from adatad_jax.detection.points import Points, make_points
from adatad_jax.detection.proposals import flatten_levels
from adatad_jax.detection.targets import Targets, assign_targets
from adatad_jax.models.adatad import Predictions
from adatad_jax.models.pyramid import level_masks
from adatad_jax.models.sizes import DetectorConfig


@dataclass(frozen=True)
class LossConfig:
    """Describes what the loss is made of.

    Attributes:
      regression_weight: factor of the DIoU loss.
      label_smoothing: of the focal loss's targets.
      all_candidates: every candidate segment gives its class to a point.
      release_gpus: R, the number of devices of the published run, to which its loss normaliser belongs.
      normalizer_start: where the normaliser starts.
    """

    regression_weight: float
    label_smoothing: float
    all_candidates: bool
    release_gpus: int
    normalizer_start: float


class Terms(NamedTuple):
    """The terms of the loss of some windows, float32 scalars; those of all windows of a batch sum to the batch's."""

    classification: jax.Array
    regression: jax.Array


def count_positives(
    detector: DetectorConfig,
    config: LossConfig,
    mask: jax.Array,
    weight: jax.Array,
    segments: jax.Array,
    labels: jax.Array,
) -> jax.Array:
    """Counts the positive points of windows, for which no prediction is needed.

    Args:
      detector: strides, regression ranges and classes.
      config: what the loss is made of.
      mask: `[B, positions]` bool, valid grid positions.
      weight: `[B]` float32, 1 for a window, 0 for one that only fills up the batch.
      segments: `[B, G, 2]` float32, grid positions.
      labels: `[B, G]` int32, -1 for padding.

    Returns:
      float32 scalar.
    """
    masks = level_masks(detector, mask)
    valid = jnp.concatenate(masks, 1) & (weight[:, None] > 0)
    _, targets = _targets(detector, config, masks[0].shape[1], valid, segments, labels)
    return targets.positive.sum().astype(jnp.float32)


def loss_terms(
    detector: DetectorConfig,
    config: LossConfig,
    predictions: Predictions,
    weight: jax.Array,
    segments: jax.Array,
    labels: jax.Array,
    divisor: jax.Array,
) -> Terms:
    """Computes the terms of the loss of windows (ActionFormer, section 3.4).

    Args:
      detector: strides, regression ranges and classes.
      config: what the loss is made of.
      predictions: of B windows.
      weight: `[B]` float32, 1 for a window, 0 for one that only fills up the batch.
      segments: `[B, G, 2]` float32, grid positions.
      labels: `[B, G]` int32, -1 for padding.
      divisor: of the sums over all windows of the batch, float32 scalar.
    """
    logits, distances, mask = flatten_levels(predictions)
    valid = mask & (weight[:, None] > 0)
    points, targets = _targets(detector, config, predictions.masks[0].shape[1], valid, segments, labels)
    sums = loss_sums(points, valid, logits, distances, targets, config.label_smoothing)
    return Terms(sums.classification / divisor, config.regression_weight * sums.regression / divisor)


def _targets(
    detector: DetectorConfig,
    config: LossConfig,
    length: int,
    valid: jax.Array,
    segments: jax.Array,
    labels: jax.Array,
) -> tuple[Points, Targets]:
    """Makes the P points of windows of `length` padded positions, and their targets; `valid` is `[B, P]` bool."""
    points = make_points(detector, length)
    return points, assign_targets(points, valid, segments, labels, detector.classes, config.all_candidates)
