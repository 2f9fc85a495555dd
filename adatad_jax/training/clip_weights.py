"""What divides the losses of clips: the number of clips of a batch that count."""

import jax
import jax.numpy as jnp

from adatad_jax.data.clip_batch import ClipBatch
from adatad_jax.training.step import Normalized


def count_clips(batch: ClipBatch) -> jax.Array:
    """Counts the clips that do not only fill up, float32 scalar."""
    counted: jax.Array = jnp.sum(batch.weight)
    return counted


def normalize_clips(counted: jax.Array, normalizer: jax.Array) -> Normalized:
    """Divides by the number of clips; a batch of which none could be read has loss 0."""
    return Normalized(jnp.maximum(counted, 1), normalizer, {"clips": counted})
