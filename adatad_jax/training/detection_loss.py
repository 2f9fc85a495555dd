"""The detection task's loss on a batch of training windows: augmentation, model, objective."""

from typing import Any

import jax

from adatad_jax.augmentation.augment import augment
from adatad_jax.data.batch import Batch
from adatad_jax.detection.objective import LossConfig, objective
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.models.layers import Params
from adatad_jax.training.step import Loss, Metrics


def make_detection_loss(model: AdaTAD, config: LossConfig) -> Loss:
    """Makes the loss of a detector, whose random draws depend on the step's key and a sample's index alone.

    Args:
      model: the detector.
      config: of the objective.
    """

    def loss(
        params: Params, batch: Batch, normalizer: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, tuple[Metrics, jax.Array]]:
        frames = augment(batch.frames, batch.augmentation)
        predictions: Any = model.apply({"params": params}, frames, batch.mask, batch.sample_ids, rngs={"dropout": key})
        found = objective(
            model.detector_config, config, predictions, batch.weight, batch.segments, batch.labels, normalizer
        )
        return found.share, (found.metrics, found.normalizer)

    return loss
