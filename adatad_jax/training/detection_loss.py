"""The detection task's loss on a batch of training windows: augmentation, model, objective."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax

from adatad_jax.augmentation.augment import augment
from adatad_jax.data.batch import Batch
from adatad_jax.detection.losses import update_normalizer
from adatad_jax.detection.objective import LossConfig, count_positives, loss_terms
from adatad_jax.devices.window_shares import WindowShares
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.models.layers import Params
from adatad_jax.training.step import Loss, Metrics, Normalized


def make_detection_loss(model: AdaTAD, config: LossConfig, shares: int = 1) -> Loss:
    """Makes the loss of a detector, whose random draws depend on the step's key and a sample's index alone.

    Args:
      model: the detector, as one device computes it.
      config: of the objective.
      shares: number of devices that share each window (`Sharing.shares`).
    """
    return _DetectionLoss(dataclasses.replace(model, shares=WindowShares(shares) if shares > 1 else None), config)


@dataclass(frozen=True)
class _DetectionLoss:
    """The loss of a detector; see `Loss`.

    What is computed from whole windows is the same on all devices that share them, and counts once.
    """

    model: AdaTAD
    config: LossConfig

    def count(self, batch: Batch) -> jax.Array:
        """Counts the positive points of this device's windows."""
        positives = count_positives(
            self.model.detector_config, self.config, batch.mask, self._weight(batch), batch.segments, batch.labels
        )
        return positives if self.model.shares is None else self.model.shares.once(positives)

    def normalize(self, counted: jax.Array, normalizer: jax.Array) -> Normalized:
        """Updates the running mean of positive points, which divides the loss."""
        normalizer = update_normalizer(normalizer, counted, self.config.release_gpus)
        metrics = {"positives": counted, "normalizer": normalizer}
        return Normalized(normalizer * self.config.release_gpus, normalizer, metrics)

    def of_rows(self, params: Params, batch: Batch, divisor: jax.Array, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Computes the focal and the DIoU loss of windows."""
        frames = augment(batch.frames, batch.augmentation)
        predictions: Any = self.model.apply(
            {"params": params}, frames, batch.mask, batch.sample_ids, rngs={"dropout": key}
        )
        detector, weight = self.model.detector_config, self._weight(batch)
        terms = loss_terms(detector, self.config, predictions, weight, batch.segments, batch.labels, divisor)
        if self.model.shares is not None:
            terms = self.model.shares.once(terms)
        return terms.classification + terms.regression, terms._asdict()

    def _weight(self, batch: Batch) -> jax.Array:
        """Returns the weight of each window, 0 if one of the devices that share it has no frames of it to give."""
        weight: jax.Array = batch.weight
        return weight if self.model.shares is None else self.model.shares.least(weight)
