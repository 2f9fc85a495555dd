"""Sigmoid focal loss for classes, DIoU loss for boundaries, and the running normaliser that divides both."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from adatad_jax.detection.points import Points, to_segments
from adatad_jax.detection.targets import Targets

FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2.0
DIOU_EPS = 1e-7
NORMALIZER_MOMENTUM = 0.9


def focal_loss(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Computes the sigmoid focal loss per element (arXiv 1708.02002).

    Args:
      logits: array of any shape.
      targets: array of the same shape, in [0, 1]; soft targets are allowed.

    Returns:
      float32 losses of the same shape.
    """
    logits = logits.astype(jnp.float32)
    p = jax.nn.sigmoid(logits)
    cross_entropy = jax.nn.softplus(logits) - logits * targets
    p_true = p * targets + (1 - p) * (1 - targets)
    alpha = FOCAL_ALPHA * targets + (1 - FOCAL_ALPHA) * (1 - targets)
    return alpha * cross_entropy * (1 - p_true) ** FOCAL_GAMMA


def diou_loss(predicted: jax.Array, target: jax.Array) -> jax.Array:
    """Computes the loss `1 - DIoU` in one dimension (arXiv 1911.08287).

    Args:
      predicted, target: `[..., 2]` start and end of segments.

    Returns:
      `[...]` losses.
    """
    (start_a, end_a), (start_b, end_b) = jnp.moveaxis(predicted, -1, 0), jnp.moveaxis(target, -1, 0)
    inter = jnp.maximum(jnp.minimum(end_a, end_b) - jnp.maximum(start_a, start_b), 0)
    union = (end_a - start_a) + (end_b - start_b) - inter
    iou = inter / jnp.maximum(union, DIOU_EPS)
    enclosing = jnp.maximum(end_a, end_b) - jnp.minimum(start_a, start_b)
    apart = 0.5 * ((start_a + end_a) - (start_b + end_b))
    loss: jax.Array = 1 - iou + apart**2 / jnp.maximum(enclosing**2, DIOU_EPS)
    return loss


class LossSums(NamedTuple):
    """Unnormalised sums over a batch, each a float32 scalar; the sums over parts of a batch add up to the whole."""

    classification: jax.Array
    regression: jax.Array


def loss_sums(
    points: Points,
    mask: jax.Array,
    logits: jax.Array,
    distances: jax.Array,
    targets: Targets,
    label_smoothing: float = 0.0,
) -> LossSums:
    """Sums the focal loss over valid points and classes, and the DIoU loss over positive points.

    Args:
      points: the P points.
      mask: `[B, P]` bool, valid points.
      logits: `[B, P, K]` predicted class logits.
      distances: `[B, P, 2]` predicted distances to start and end, in strides.
      targets: the targets from `assign_targets`.
      label_smoothing: s in the smoothed target `target * (1 - s) + s / (K + 1)`.
    """
    classes = targets.classes
    if label_smoothing:
        classes = classes * (1 - label_smoothing) + label_smoothing / (classes.shape[-1] + 1)
    focal = jnp.where(mask[..., None], focal_loss(logits, classes), 0)
    # Targets of other points may be any numbers, even NaN: both sides get values with a finite gradient, dropped below.
    positive = targets.positive[..., None]
    predicted = to_segments(points, jnp.where(positive, distances, 1.0))
    wanted = to_segments(points, jnp.where(positive, targets.distances, 1.0))
    diou = jnp.where(targets.positive, diou_loss(predicted, wanted), 0)
    return LossSums(focal.sum(), diou.sum())


def update_normalizer(normalizer: jax.Array, positives: jax.Array, release_gpus: int) -> jax.Array:
    """Updates the running mean n of positive points per GPU of the release: `0.9 n + 0.1 max(positives / R, 1)`.

    Args:
      normalizer: the running mean n, scalar.
      positives: number of positive points in the global batch, so that the result does not depend on the number of
        devices used here.
      release_gpus: R, number of GPUs of the published run.
    """
    current = jnp.maximum(positives / release_gpus, 1)
    return NORMALIZER_MOMENTUM * normalizer + (1 - NORMALIZER_MOMENTUM) * current
