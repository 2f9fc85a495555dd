"""VideoMAE vision transformer over the 16-frame chunks of a window, with temporal adapters in chosen blocks."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from adatad_jax.models.layers import Dtype, LayerNorm, drop_path, gelu, uniform_bias, uniform_fan_in
from adatad_jax.models.positions import resize_positions, sinusoid_table
from adatad_jax.models.sizes import CHUNK_FRAMES, CHUNK_TUBELETS, TUBELET, ViTConfig
from adatad_jax.models.tia import TIA

# Pixel statistics of the pre-training, RGB order, in the 0..255 range.
PIXEL_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
PIXEL_STD = np.array([58.395, 57.12, 57.375], np.float32)


def _dense(features: int, fan_in: int, dtype: Dtype, name: str, use_bias: bool = True) -> nn.Dense:
    return nn.Dense(
        features,
        use_bias=use_bias,
        kernel_init=uniform_fan_in,
        bias_init=uniform_bias(fan_in),
        dtype=dtype,
        name=name,
    )


class PatchEmbed(nn.Module):
    """Non-overlapping 3-D convolution, written as one matrix product (a third faster than the convolution on a CPU)."""

    width: int
    patch: int
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[N, 16, H, W, 3]` -> `[N, 8*h*w, C]`, tokens ordered t, h, w; a remainder of H or W is dropped."""
        p = self.patch
        kernel = self.param("kernel", uniform_fan_in, (TUBELET, p, p, 3, self.width))
        bias = self.param("bias", uniform_bias(TUBELET * p * p * 3), (self.width,))
        n, t, h, w = x.shape[0], x.shape[1] // TUBELET, x.shape[2] // p, x.shape[3] // p
        x = x[:, :, : h * p, : w * p].reshape(n, t, TUBELET, h, p, w, p, 3)
        x = x.transpose(0, 1, 3, 5, 2, 4, 6, 7).reshape(n, t * h * w, -1)
        kernel = kernel.reshape(-1, self.width).astype(self.dtype)
        return x.astype(self.dtype) @ kernel + bias.astype(self.dtype)


class Attention(nn.Module):
    """Self-attention among the tokens of a chunk; q and v carry a learned bias, k has none (VideoMAE)."""

    heads: int
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[N, tokens, C]` -> `[N, tokens, C]`."""
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
    hidden: int
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1]
        x = gelu(_dense(self.hidden, width, self.dtype, "fc1")(x))
        return _dense(width, self.hidden, self.dtype, "fc2")(x)


class Block(nn.Module):
    """Pre-norm transformer block with a temporal adapter where `has_tia`; shaped as the body of a scan."""

    config: ViTConfig
    has_tia: bool
    chunks: int  # N, chunks of a window
    dtype: Dtype
    remat: bool  # recompute a side adapter in the backward pass

    @nn.compact
    def __call__(
        self, carry: tuple[jax.Array, jax.Array | None], rate: jax.Array, chunk_ids: jax.Array | None
    ) -> tuple[tuple[jax.Array, jax.Array | None], None]:
        """One block.

        Args:
          carry: `[B*N, tokens, C]` float32, the residual stream; and the sum of the side adapters so far, of the same
            shape, None where adapters end their blocks.
          rate: stochastic depth of this block, scalar.
          chunk_ids: `[B*N]` int, each chunk's index in the global batch; None outside training.
        """

        def maybe_drop(y: jax.Array) -> jax.Array:
            if chunk_ids is None or self.config.drop_path == 0:
                return y
            return drop_path(y, rate, self.make_rng("dropout"), chunk_ids)

        x, side = carry
        y = LayerNorm(self.config.norm_eps, dtype=self.dtype, name="norm1")(x)
        x = x + maybe_drop(Attention(self.config.heads, self.dtype, name="attn")(y))
        y = LayerNorm(self.config.norm_eps, dtype=self.dtype, name="norm2")(x)
        x = x + maybe_drop(Mlp(self.config.mlp_hidden, self.dtype, name="mlp")(y))
        if self.has_tia:
            batch, (tokens, width) = x.shape[0] // self.chunks, x.shape[1:]
            window = x.reshape(batch, self.chunks * CHUNK_TUBELETS, tokens // CHUNK_TUBELETS, width)
            adapter = nn.remat(TIA, prevent_cse=False) if self.remat else TIA
            if side is not None:
                window = jax.lax.stop_gradient(window)
            change = adapter(self.config.tia_hidden, self.dtype, name="tia")(window).reshape(x.shape)
            if side is None:
                x = x + change
            else:
                side = side + change
        return (x, side), None


class VisionTransformer(nn.Module):
    """VideoMAE on every 16-frame chunk of a window; the adapters' convolution runs over the whole window.

    With `config.side` (AdaTAD-dagger of the paper) the output is that of the last block with an adapter plus the sum of
    all adapters, and no gradient flows through the blocks.

    Parameters of consecutive blocks of one kind are stacked on a leading layer axis under `blocks_FIRST_LAST`. A
    `pos_embed` `[8*grid*grid, C]` among the parameters replaces the fixed sinusoid table.

    Attributes:
      remat: recompute activations in the backward pass instead of keeping them.
      unroll: lay the blocks out one by one instead of as a loop (longer to compile; lets XLA drop more of block 0).
    """

    config: ViTConfig
    dtype: Dtype = jnp.float32
    remat: bool = False
    unroll: bool = False

    @nn.compact
    def __call__(self, frames: jax.Array, sample_ids: jax.Array | None = None) -> jax.Array:
        """Encodes windows.

        Args:
          frames: `[B, T, H, W, 3]` uint8 RGB; T a multiple of 16.
          sample_ids: `[B]` int, each window's index in the global batch, in training; None draws no stochastic depth.

        Returns:
          `[B, T/2, C]` float32, the mean over h, w of the last block's output (no final norm).
        """
        cfg = self.config
        batch, total, height, width = frames.shape[:4]
        if total % CHUNK_FRAMES:
            raise ValueError(f"frames {frames.shape}: the window's {total} frames are no multiple of {CHUNK_FRAMES}")
        chunks = total // CHUNK_FRAMES
        x = (frames.astype(jnp.float32) - PIXEL_MEAN) / PIXEL_STD
        x = x.reshape(batch * chunks, CHUNK_FRAMES, height, width, 3)
        x = PatchEmbed(cfg.width, cfg.patch, self.dtype, name="patch_embed")(x).astype(jnp.float32)
        x = x + self._positions(height // cfg.patch, width // cfg.patch)

        chunk_ids = None
        if sample_ids is not None:
            chunk_ids = (sample_ids[:, None] * chunks + jnp.arange(chunks)).reshape(-1)
        rates = np.linspace(0, cfg.drop_path, cfg.depth, dtype=np.float32)
        # A scan's body is never merged with its recomputation, so remat needs no barrier against it. With side adapters
        # the blocks have no gradient, so nothing of them is kept or computed again.
        block = nn.remat(Block, prevent_cse=False) if self.remat and not cfg.side else Block
        carry: Any = (x, jnp.zeros_like(x) if cfg.side else None)
        for first, last, has_tia in cfg.runs():
            run = nn.scan(
                block,
                variable_axes={"params": 0, "intermediates": 0},
                split_rngs={"params": True, "dropout": True},
                in_axes=(0, nn.broadcast),
                length=last - first + 1,
                unroll=last - first + 1 if self.unroll else 1,
            )
            blocks = run(cfg, has_tia, chunks, self.dtype, self.remat and cfg.side, name=f"blocks_{first}_{last}")
            carry, _ = blocks(carry, jnp.asarray(rates[first : last + 1]), chunk_ids)
            if cfg.side and last == cfg.tia_blocks[-1]:
                beside = jax.lax.stop_gradient(carry[0]) + carry[1]
        x = beside if cfg.side else carry[0]
        return x.reshape(batch, chunks * CHUNK_TUBELETS, -1, cfg.width).mean(2)

    def _positions(self, h: int, w: int) -> jax.Array | np.ndarray:
        grid = self.config.image_size // self.config.patch
        if self.has_variable("params", "pos_embed"):
            table: jax.Array | np.ndarray = self.get_variable("params", "pos_embed")
        else:
            table = sinusoid_table(CHUNK_TUBELETS * grid * grid, self.config.width)
        return resize_positions(table, grid, h, w)
