"""The clip classifier of VideoMAE (arXiv 2203.12602): encoder, pooling, linear head."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from adatad_jax.models.encoder import NORMAL, Encoder
from adatad_jax.models.layers import Dtype, LayerNorm
from adatad_jax.models.policy import MemoryPolicy
from adatad_jax.models.sizes import ClassifierConfig

HEAD_STD = 2e-5  # of the head's first weights: 0.02, times the published scale of 0.001


class Classifier(nn.Module):
    """Logits of clips.

    Parameters: `encoder` (`Encoder`), with mean pooling `fc_norm`, and `head`.

    Attributes:
      config: dimensions.
      dtype, policy, unroll: as in `Backbone`.
    """

    config: ClassifierConfig
    dtype: Dtype = jnp.float32
    policy: MemoryPolicy = MemoryPolicy()
    unroll: bool = False

    @nn.compact
    def __call__(self, frames: jax.Array, sample_ids: jax.Array | None = None) -> jax.Array:
        """Classifies clips.

        Args:
          frames: `[N, 16, H, W, 3]` RGB in [0, 255], uint8 or float32.
          sample_ids: in training, `[N]` int, each clip's index in the global batch. None draws no stochastic depth.

        Returns:
          `[N, K]` float32 logits.
        """
        cfg = self.config
        encoder = Encoder(
            cfg.encoder, not cfg.mean_pooling, NORMAL, self.dtype, self.policy, self.unroll, name="encoder"
        )
        x = encoder(frames, sample_ids=sample_ids)
        x = LayerNorm(cfg.head_norm_eps, name="fc_norm")(x.mean(1)) if cfg.mean_pooling else x[:, 0]
        return nn.Dense(cfg.classes, kernel_init=nn.initializers.normal(HEAD_STD), name="head")(x)
