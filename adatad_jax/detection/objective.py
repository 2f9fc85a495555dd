"""What the training minimises: focal loss and DIoU loss over the points of a batch, by the running normaliser."""

from dataclasses import dataclass
from typing import NamedTuple

import jax

from adatad_jax.detection.losses import loss_sums, update_normalizer
from adatad_jax.detection.points import make_points
from adatad_jax.detection.proposals import flatten_levels
from adatad_jax.detection.targets import assign_targets
from adatad_jax.devices.mapping import AXIS
from adatad_jax.models.adatad import Predictions
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


class Objective(NamedTuple):
    """The loss of a batch that the devices of the axis `AXIS` share.

    Attributes:
      share: this device's share of the loss, float32 scalar.
      metrics: of the global batch: `loss`, its parts `classification` and `regression`, the number of `positives`, and
        the `normalizer`.
      normalizer: after this step.
    """

    share: jax.Array
    metrics: dict[str, jax.Array]
    normalizer: jax.Array


def objective(
    detector: DetectorConfig,
    config: LossConfig,
    predictions: Predictions,
    weight: jax.Array,
    segments: jax.Array,
    labels: jax.Array,
    normalizer: jax.Array,
) -> Objective:
    """Computes the loss of one device's windows (ActionFormer, section 3.4).

    Losses and positives are summed over the devices before the normaliser divides them, so N devices that share a
    batch compute what one does.

    Args:
      detector: strides, regression ranges and classes.
      config: what the loss is made of.
      predictions: of B windows.
      weight: `[B]` float32, 1 for a window, 0 for one that only fills up the batch.
      segments: `[B, G, 2]` float32, grid positions.
      labels: `[B, G]` int32, -1 for padding.
      normalizer: the loss normaliser before this step, float32 scalar.
    """
    logits, distances, mask = flatten_levels(predictions)
    mask &= weight[:, None] > 0
    points = make_points(detector, predictions.masks[0].shape[1])
    targets = assign_targets(points, mask, segments, labels, detector.classes, config.all_candidates)
    sums = loss_sums(points, mask, logits, distances, targets, config.label_smoothing)
    positives = jax.lax.psum(sums.positives, AXIS)
    normalizer = update_normalizer(normalizer, positives, config.release_gpus)
    divisor = normalizer * config.release_gpus
    own = sums.classification / divisor
    own_regression = config.regression_weight * sums.regression / divisor
    classification, regression = jax.lax.psum((own, own_regression), AXIS)
    metrics = {
        "loss": classification + regression,
        "classification": classification,
        "regression": regression,
        "positives": positives,
        "normalizer": normalizer,
    }
    return Objective(own + own_regression, metrics, normalizer)
