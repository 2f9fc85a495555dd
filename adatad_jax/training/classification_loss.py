"""The loss of clip classification on a batch: augmentation, Mixup and CutMix, classifier, cross-entropy."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from adatad_jax.augmentation.augment import augment
from adatad_jax.classification.mixing import draw_mix, mix_clips, mix_targets
from adatad_jax.classification.objective import cross_entropy, in_top, smoothed
from adatad_jax.data.clip_batch import ClipBatch
from adatad_jax.models.classifier import Classifier
from adatad_jax.models.layers import Params
from adatad_jax.training.mean_over_clips import MeanOverClips
from adatad_jax.training.step import Loss, Metrics


def make_classification_loss(model: Classifier, smoothing: float) -> Loss:
    """Makes the loss of a classifier: the mean, over clips, of the cross-entropy with smoothed targets.

    Batches that come with partners are mixed with them (`classification.mixing`).

    Args:
      model: the classifier.
      smoothing: of the targets.
    """
    return _ClassificationLoss(model, smoothing)


@dataclass(frozen=True)
class _ClassificationLoss(MeanOverClips):
    """The loss of a classifier; see `Loss`."""

    model: Classifier
    smoothing: float

    def of_rows(
        self, params: Params, batch: ClipBatch, divisor: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        """Computes the cross-entropy of clips, and their share of the batch's accuracy."""
        drop_key, mix_key = jax.random.split(key)
        frames, classes = augment(batch.frames, batch.augmentation), self.model.config.classes
        wanted = smoothed(batch.labels, classes, self.smoothing)
        if batch.partners is not None:
            mix = draw_mix(mix_key, frames.shape[2], frames.shape[3])
            frames = mix_clips(frames, augment(batch.partners, batch.partner_augmentation), mix)
            wanted = mix_targets(wanted, smoothed(batch.partner_labels, classes, self.smoothing), mix)
        logits: jax.Array = self.model.apply(  # type: ignore[assignment]
            {"params": params}, frames, batch.sample_ids, rngs={"dropout": drop_key}
        )
        right = in_top(logits, batch.labels, 1).astype(jnp.float32)
        metrics = {"accuracy": (batch.weight * right).sum() / divisor}
        return (batch.weight * cross_entropy(logits, wanted)).sum() / divisor, metrics
