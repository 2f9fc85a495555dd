"""The VideoMAE encoder (arXiv 2203.12602): patches of frames become tokens, and transformer blocks map tokens.

Tokens attend only to tokens of their own clip. Code that is specific to long windows is in `models.backbone`.
"""

from typing import TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from adatad_jax.models.layers import Dtype, LayerNorm, drop_path, gelu, uniform_bias, uniform_fan_in
from adatad_jax.models.sizes import TUBELET, ViTConfig

Carry = TypeVar("Carry")

# Mean and standard deviation of the pre-training's pixels, RGB, in [0, 255].
PIXEL_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
PIXEL_STD = np.array([58.395, 57.12, 57.375], np.float32)


def _dense(features: int, fan_in: int, dtype: Dtype, name: str, use_bias: bool = True) -> nn.Dense:
    """Makes a linear layer with PyTorch's initialisation."""
    return nn.Dense(
        features,
        use_bias=use_bias,
        kernel_init=uniform_fan_in,
        bias_init=uniform_bias(fan_in),
        dtype=dtype,
        name=name,
    )


class PatchEmbed(nn.Module):
    """Patch embedding: a non-overlapping 3-D convolution, as one matrix product (a third faster on a CPU).

    Attributes:
      width: channels C of a token.
      patch: side of a square patch, pixels.
      dtype: in which the product computes.
    """

    width: int
    patch: int
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Embeds N clips.

        Args:
          x: `[N, T, H, W, 3]` normalised pixels. A remainder of H or W that is no whole patch is dropped.

        Returns:
          `[N, t*h*w, C]` tokens, ordered by t, h, w.
        """
        p = self.patch
        kernel = self.param("kernel", uniform_fan_in, (TUBELET, p, p, 3, self.width))
        bias = self.param("bias", uniform_bias(TUBELET * p * p * 3), (self.width,))
        n, t, h, w = x.shape[0], x.shape[1] // TUBELET, x.shape[2] // p, x.shape[3] // p
        x = x[:, :, : h * p, : w * p].reshape(n, t, TUBELET, h, p, w, p, 3)
        x = x.transpose(0, 1, 3, 5, 2, 4, 6, 7).reshape(n, t * h * w, -1)
        kernel = kernel.reshape(-1, self.width).astype(self.dtype)
        return x.astype(self.dtype) @ kernel + bias.astype(self.dtype)


class Attention(nn.Module):
    """Self-attention among the tokens of a clip. As in VideoMAE, q and v have a learned bias, and k has none.

    Attributes:
      heads: number of attention heads.
      dtype: in which products compute; the softmax is in float32.
    """

    heads: int
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps tokens `[N, t*h*w, C]` to the same shape."""
        n, tokens, width = x.shape
        q_bias = self.param("q_bias", nn.initializers.zeros, (width,))
        v_bias = self.param("v_bias", nn.initializers.zeros, (width,))
        qkv = _dense(3 * width, width, self.dtype, "qkv", use_bias=False)(x)
        qkv = qkv + jnp.concatenate([q_bias, jnp.zeros_like(q_bias), v_bias]).astype(self.dtype)
        q, k, v = jnp.moveaxis(qkv.reshape(n, tokens, 3, self.heads, width // self.heads), 2, 0)
        logits = jnp.einsum("nqhd,nkhd->nhqk", q * (width // self.heads) ** -0.5, k)
        weights = jax.nn.softmax(logits.astype(jnp.float32)).astype(self.dtype)
        out = jnp.einsum("nhqk,nkhd->nqhd", weights, v).reshape(n, tokens, width)
        return _dense(width, width, self.dtype, "proj")(out)


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them, applied to each token.

    Attributes:
      hidden: channels between the layers.
      dtype: in which products compute.
    """

    hidden: int
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps tokens `[..., C]` to the same shape."""
        width = x.shape[-1]
        x = gelu(_dense(self.hidden, width, self.dtype, "fc1")(x))
        return _dense(width, self.hidden, self.dtype, "fc2")(x)


class Block(nn.Module):
    """A pre-norm transformer block of VideoMAE (arXiv 2203.12602): attention, then MLP, each with a residual."""

    config: ViTConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, rate: jax.Array, clip_ids: jax.Array | None) -> jax.Array:
        """Maps tokens to tokens.

        Args:
          x: `[N, t*h*w, C]` float32, the residual stream of N clips.
          rate: float32 scalar, the rate of stochastic depth of this block.
          clip_ids: in training, `[N]` int, each clip's index in the global batch; None outside training.
        """

        def maybe_drop(y: jax.Array) -> jax.Array:
            if clip_ids is None or self.config.drop_path == 0:
                return y
            return drop_path(y, rate, self.make_rng("dropout"), clip_ids)

        y = LayerNorm(self.config.norm_eps, dtype=self.dtype, name="norm1")(x)
        x = x + maybe_drop(Attention(self.config.heads, self.dtype, name="attn")(y))
        y = LayerNorm(self.config.norm_eps, dtype=self.dtype, name="norm2")(x)
        return x + maybe_drop(Mlp(self.config.mlp_hidden, self.dtype, name="mlp")(y))


def drop_path_rates(config: ViTConfig) -> np.ndarray:
    """Returns the rates of stochastic depth, `[depth]` float32: linear from 0 at the first block."""
    return np.linspace(0, config.drop_path, config.depth, dtype=np.float32)


def run_blocks(
    block: nn.Module, carry: Carry, rates: np.ndarray, clip_ids: jax.Array | None, unroll: bool = False
) -> Carry:
    """Runs consecutive blocks as a loop over parameters that are stacked on a leading layer axis.

    Args:
      block: the body of the loop; called with the carry, the block's rate and the ids, it returns the next carry.
      carry: what each block passes to the next: the tokens, or a tree that contains them.
      rates: `[blocks]` float32, rates of stochastic depth.
      clip_ids: as in `Block`.
      unroll: whether to compile every block by itself instead of a loop (longer to compile; lets XLA drop more).

    Returns:
      The carry after the last block.
    """

    def body(block: nn.Module, carry: Carry, rate: jax.Array, clip_ids: jax.Array | None) -> tuple[Carry, None]:
        return block(carry, rate, clip_ids), None

    loop = nn.scan(
        body,
        variable_axes={"params": 0, "intermediates": 0},
        split_rngs={"params": True, "dropout": True},
        in_axes=(0, nn.broadcast),
        length=len(rates),
        unroll=len(rates) if unroll else 1,
    )
    carry, _ = loop(block, carry, jnp.asarray(rates), clip_ids)
    return carry
