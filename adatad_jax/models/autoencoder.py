"""The masked autoencoder of VideoMAE (arXiv 2203.12602): visible tokens -> pixels of the masked tubelets."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from adatad_jax.models.encoder import XAVIER, Block, Encoder, position_table, run_blocks
from adatad_jax.models.layers import Dtype, LayerNorm
from adatad_jax.models.policy import MemoryPolicy
from adatad_jax.models.sizes import TUBELET, AutoencoderConfig


class Decoder(nn.Module):
    """Transformer blocks on visible and mask tokens; a norm and a linear head on the mask tokens.

    Attributes:
      config: dimensions of the autoencoder.
      dtype, policy, unroll: as in `Backbone`.
    """

    config: AutoencoderConfig
    dtype: Dtype = jnp.float32
    policy: MemoryPolicy = MemoryPolicy()
    unroll: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, masked: int) -> jax.Array:
        """Decodes tokens `[N, V+M, C]` float32, whose last M = `masked` are mask tokens: `[N, M, 2*patch*patch*3]`."""
        cfg = self.config.decoder
        kind = nn.remat(Block, prevent_cse=False) if self.policy.remat else Block
        block = kind(cfg, self.dtype, XAVIER, self.policy, self.unroll, name=f"blocks_0_{cfg.depth - 1}")
        x = run_blocks(block, x, cfg.depth, unroll=self.unroll)
        x = LayerNorm(self.config.head_norm_eps, dtype=self.dtype, name="norm")(x[:, -masked:])
        values = TUBELET * cfg.patch**2 * 3
        head = nn.Dense(values, kernel_init=XAVIER.kernel, dtype=self.dtype, name="head")
        return head(x).astype(jnp.float32)


class MaskedAutoencoder(nn.Module):
    """The encoder on visible tokens, and a light decoder that predicts the masked tubelets.

    Parameters: `encoder` (`Encoder`), `encoder_to_decoder`, `mask_token` and `decoder`.

    Attributes:
      config: dimensions.
      dtype, policy, unroll: as in `Backbone`.
    """

    config: AutoencoderConfig
    dtype: Dtype = jnp.float32
    policy: MemoryPolicy = MemoryPolicy()
    unroll: bool = False

    @nn.compact
    def __call__(
        self, frames: jax.Array, visible: jax.Array, masked: jax.Array, sample_ids: jax.Array | None = None
    ) -> jax.Array:
        """Predicts the masked tubelets of clips.

        Args:
          frames: `[N, 16, H, W, 3]` uint8 RGB.
          visible: `[N, V]` int, the visible tokens, ascending.
          masked: `[N, M]` int, the other tokens, ascending.
          sample_ids: in training, `[N]` int, each clip's index in the global batch. None draws no stochastic depth.

        Returns:
          `[N, M, 2*patch*patch*3]` float32, normalised values (`pretraining.objective.targets`) of the masked tubelets.
        """
        encoder, decoder = self.config.encoder, self.config.decoder
        options = {"dtype": self.dtype, "policy": self.policy, "unroll": self.unroll}
        x = Encoder(encoder, self.config.encoder_norm, XAVIER, **options, name="encoder")(frames, visible, sample_ids)
        project = nn.Dense(
            decoder.width, use_bias=False, kernel_init=XAVIER.kernel, dtype=self.dtype, name="encoder_to_decoder"
        )
        mask_token = self.param("mask_token", nn.initializers.normal(0.02), (decoder.width,))
        height, width = frames.shape[2] // decoder.patch, frames.shape[3] // decoder.patch
        positions = jnp.asarray(position_table(decoder, height, width))
        x = project(x).astype(jnp.float32) + positions[visible]
        x = jnp.concatenate([x, mask_token + positions[masked]], axis=1)
        return Decoder(self.config, **options, name="decoder")(x, masked.shape[1])
