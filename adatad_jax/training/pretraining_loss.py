"""The loss of masked pre-training on a batch of clips: masks, autoencoder, squared error (arXiv 2203.12602)."""

from dataclasses import dataclass

import jax

from adatad_jax.data.clip_batch import ClipBatch
from adatad_jax.models.autoencoder import MaskedAutoencoder
from adatad_jax.models.layers import Params
from adatad_jax.pretraining.masking import draw_tube_masks
from adatad_jax.pretraining.objective import squared_error, targets
from adatad_jax.training.mean_over_clips import MeanOverClips
from adatad_jax.training.step import Loss, Metrics


def make_pretraining_loss(model: MaskedAutoencoder, masked: int) -> Loss:
    """Makes the loss of an autoencoder: the mean, over clips, of the squared error on masked tubelets.

    Args:
      model: the autoencoder.
      masked: number of masked patches of a frame (`masked_positions`).
    """
    return _PretrainingLoss(model, masked)


@dataclass(frozen=True)
class _PretrainingLoss(MeanOverClips):
    """The loss of an autoencoder; see `Loss`."""

    model: MaskedAutoencoder
    masked: int

    def of_rows(
        self, params: Params, batch: ClipBatch, divisor: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        """Computes the error of clips, each with a mask of its own."""
        patch, frames = self.model.config.encoder.patch, batch.frames
        positions = (frames.shape[2] // patch) * (frames.shape[3] // patch)
        masks = draw_tube_masks(key, batch.sample_ids, positions, self.masked)
        predictions: jax.Array = self.model.apply(  # type: ignore[assignment]
            {"params": params}, frames, masks.visible, masks.masked
        )
        errors = squared_error(predictions, targets(frames, masks.masked, patch))
        return (batch.weight * errors).sum() / divisor, {}
