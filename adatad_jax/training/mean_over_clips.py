"""The base of losses of clips, which are means over the clips of a batch that count."""

import jax
import jax.numpy as jnp

from adatad_jax.data.clip_batch import ClipBatch
from adatad_jax.training.step import Normalized


class MeanOverClips:
    """What divides the loss of a task on clips; see `Loss`."""

    def count(self, batch: ClipBatch) -> jax.Array:
        """Counts the clips that do not only fill up, float32 scalar."""
        counted: jax.Array = jnp.sum(batch.weight)
        return counted

    def normalize(self, counted: jax.Array, normalizer: jax.Array) -> Normalized:
        """Divides by the number of clips; a batch of which none could be read has loss 0."""
        return Normalized(jnp.maximum(counted, 1), normalizer, {"clips": counted})
