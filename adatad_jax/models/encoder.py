"""The VideoMAE encoder (arXiv 2203.12602): patches of frames become tokens, and transformer blocks map tokens.

Tokens attend only to tokens of their own clip. Code that is specific to long windows is in `models.backbone`.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from adatad_jax.models.chunk_attention import chunk_attention, plain_attention
from adatad_jax.models.layers import Dtype, Initializer, LayerNorm, depth_factors, gelu, uniform_bias, uniform_fan_in
from adatad_jax.models.policy import MemoryPolicy
from adatad_jax.models.positions import resize_positions, sinusoid_table
from adatad_jax.models.recompute import in_groups
from adatad_jax.models.sizes import CHUNK_FRAMES, CHUNK_TUBELETS, TUBELET, ViTConfig

Carry = TypeVar("Carry")

# Mean and standard deviation of the pre-training's pixels, RGB, in [0, 255].
PIXEL_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
PIXEL_STD = np.array([58.395, 57.12, 57.375], np.float32)


class LinearInit(NamedTuple):
    """The initialisation of linear layers.

    Attributes:
      kernel: draws a kernel `[in, out]`.
      bias: number of inputs -> what draws the bias.
    """

    kernel: Initializer
    bias: Callable[[int], Initializer]


def _zeros(fan_in: int) -> Initializer:
    """Returns the initialiser of biases that start at zero."""
    del fan_in
    return nn.initializers.zeros


PYTORCH = LinearInit(uniform_fan_in, uniform_bias)  # of the AdaTAD release, where no checkpoint is given
XAVIER = LinearInit(nn.initializers.xavier_uniform(), _zeros)  # of VideoMAE's pre-training
NORMAL = LinearInit(nn.initializers.normal(0.02), _zeros)  # of VideoMAE's fine-tuning, where no checkpoint is given


def _dense(features: int, fan_in: int, dtype: Dtype, init: LinearInit, name: str, use_bias: bool = True) -> nn.Dense:
    """Makes a linear layer."""
    return nn.Dense(
        features,
        use_bias=use_bias,
        kernel_init=init.kernel,
        bias_init=init.bias(fan_in),
        dtype=dtype,
        name=name,
    )


def patchify(frames: jax.Array, patch: int) -> jax.Array:
    """Cuts clips into tubelets of 2 frames and `patch` x `patch` pixels.

    Args:
      frames: `[N, T, H, W, 3]`. A remainder of H or W that is no whole patch is dropped.
      patch: side of a square patch, pixels.

    Returns:
      `[N, t*h*w, 2*patch*patch*3]`, of the dtype of `frames`: tubelets ordered by t, h, w, and the values of each by
      frame, row, column and channel.
    """
    n, t, h, w = frames.shape[0], frames.shape[1] // TUBELET, frames.shape[2] // patch, frames.shape[3] // patch
    x = frames[:, :, : h * patch, : w * patch].reshape(n, t, TUBELET, h, patch, w, patch, 3)
    return x.transpose(0, 1, 3, 5, 2, 4, 6, 7).reshape(n, t * h * w, -1)


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
        """Embeds tubelets of normalised pixels, `[N, tokens, 2*patch*patch*3]` of `patchify`, as `[N, tokens, C]`."""
        p = self.patch
        kernel = self.param("kernel", uniform_fan_in, (TUBELET, p, p, 3, self.width))
        bias = self.param("bias", uniform_bias(TUBELET * p * p * 3), (self.width,))
        kernel = kernel.reshape(-1, self.width).astype(self.dtype)
        return x.astype(self.dtype) @ kernel + bias.astype(self.dtype)


def position_table(
    config: ViTConfig, height: int, width: int, learned: jax.Array | None = None
) -> jax.Array | np.ndarray:
    """Returns the positions of a clip's tokens, `[8*height*width, C]`, for frames of height x width patches.

    Args:
      config: dimensions; the table is that of the pre-training's frames, resized if these frames differ.
      height, width: sides of the frames, patches.
      learned: the table of a checkpoint, `[8*grid*grid, C]`; None for the fixed sinusoids.
    """
    grid = config.image_size // config.patch
    table = sinusoid_table(CHUNK_TUBELETS * grid * grid, config.width) if learned is None else learned
    return resize_positions(table, grid, height, width)


class Attention(nn.Module):
    """Self-attention among the tokens of a clip. As in VideoMAE, q and v have a learned bias, and k has none.

    Attributes:
      heads: number of attention heads.
      dtype: in which products compute; the softmax is in float32.
      linear_init: of the linear layers.
      plain: whether to compute attention as it is defined, without a loop.
    """

    heads: int
    dtype: Dtype
    linear_init: LinearInit
    plain: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps tokens `[N, t*h*w, C]` to the same shape."""
        width = x.shape[-1]
        q_bias = self.param("q_bias", nn.initializers.zeros, (width,))
        v_bias = self.param("v_bias", nn.initializers.zeros, (width,))
        qkv = _dense(3 * width, width, self.dtype, self.linear_init, "qkv", use_bias=False)(x)
        qkv = qkv + jnp.concatenate([q_bias, jnp.zeros_like(q_bias), v_bias]).astype(self.dtype)
        out = (plain_attention if self.plain else chunk_attention)(qkv, self.heads)
        return _dense(width, width, self.dtype, self.linear_init, "proj")(out)


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them, applied to each token.

    Attributes:
      hidden: channels between the layers.
      dtype: in which products compute.
      linear_init: of the layers.
    """

    hidden: int
    dtype: Dtype
    linear_init: LinearInit

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps tokens `[..., C]` to the same shape."""
        width = x.shape[-1]
        x = gelu(_dense(self.hidden, width, self.dtype, self.linear_init, "fc1")(x))
        return _dense(width, self.hidden, self.dtype, self.linear_init, "fc2")(x)


class Block(nn.Module):
    """A pre-norm transformer block of VideoMAE (arXiv 2203.12602): attention, then MLP, each with a residual.

    Attributes:
      config: dimensions, and the rate of stochastic depth.
      dtype: in which matrix products compute.
      linear_init: of the linear layers.
      policy: how many clips are computed at once.
      plain: whether attention is computed as it is defined, and all clips at once.
    """

    config: ViTConfig
    dtype: Dtype
    linear_init: LinearInit
    policy: MemoryPolicy = MemoryPolicy()
    plain: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, factors: jax.Array | None) -> jax.Array:
        """Maps tokens to tokens.

        Args:
          x: `[N, t*h*w, C]` float32, the residual stream of N clips.
          factors: `[N, 2]` float32, this block's of `depth_factors`; None draws no stochastic depth.
        """
        size = 0 if self.plain else self.policy.attention_chunks
        return in_groups(Block._map, self, size, (x, factors), None)

    def _map(self, clips: tuple[jax.Array, jax.Array | None], shared: None) -> jax.Array:
        """Maps the tokens of some clips."""
        del shared
        x, factors = clips

        def drop(y: jax.Array, branch: int) -> jax.Array:
            return y if factors is None else y * factors[:, branch, None, None].astype(y.dtype)

        y = LayerNorm(self.config.norm_eps, dtype=self.dtype, name="norm1")(x)
        attention = Attention(self.config.heads, self.dtype, self.linear_init, self.plain, name="attn")
        x = x + drop(attention(y), 0)
        size = 0 if self.plain else self.policy.mlp_chunks
        return x + drop(in_groups(Block._mlp, self, size, x, None), 1)

    def _mlp(self, x: jax.Array, shared: None) -> jax.Array:
        del shared
        y = LayerNorm(self.config.norm_eps, dtype=self.dtype, name="norm2")(x)
        return Mlp(self.config.mlp_hidden, self.dtype, self.linear_init, name="mlp")(y)


def drop_path_rates(config: ViTConfig) -> np.ndarray:
    """Returns the rates of stochastic depth, `[depth]` float32: linear from 0 at the first block."""
    return np.linspace(0, config.drop_path, config.depth, dtype=np.float32)


def run_blocks(
    block: nn.Module, carry: Carry, blocks: int, factors: jax.Array | None = None, unroll: bool = False
) -> Carry:
    """Runs consecutive blocks as a loop over parameters that are stacked on a leading layer axis.

    Args:
      block: the body of the loop; called with the carry and the block's factors, it returns the next carry.
      carry: what each block passes to the next: the tokens, or a tree that contains them.
      blocks: their number.
      factors: `[blocks, N, 2]` float32, theirs of `depth_factors`.
      unroll: whether to compile every block by itself instead of a loop (longer to compile; lets XLA drop more).

    Returns:
      The carry after the last block.
    """

    def body(block: nn.Module, carry: Carry, factors: jax.Array | None) -> tuple[Carry, None]:
        return block(carry, factors), None

    loop = nn.scan(
        body,
        variable_axes={"params": 0, "intermediates": 0},
        split_rngs={"params": True},
        length=blocks,
        unroll=blocks if unroll else 1,
    )
    carry, _ = loop(block, carry, factors)
    return carry


class Encoder(nn.Module):
    """The encoder of single clips, or of their visible tokens; `models.backbone` encodes long windows.

    Parameters are those of a `Backbone` without adapters and, with `norm`, the final LayerNorm.

    Attributes:
      config: dimensions; without adapters.
      norm: whether a LayerNorm follows the last block.
      linear_init: of the linear layers.
      dtype, policy, unroll: as in `Backbone`.
    """

    config: ViTConfig
    norm: bool
    linear_init: LinearInit
    dtype: Dtype = jnp.float32
    policy: MemoryPolicy = MemoryPolicy()
    unroll: bool = False

    @nn.compact
    def __call__(
        self, frames: jax.Array, visible: jax.Array | None = None, sample_ids: jax.Array | None = None
    ) -> jax.Array:
        """Encodes clips.

        Args:
          frames: `[N, 16, H, W, 3]` RGB in [0, 255], uint8 or float32.
          visible: `[N, V]` int, the tokens to encode, ascending. Pixels of other tokens are left out before the
            embedding, so that these tokens cost nothing. None encodes all tokens.
          sample_ids: in training, `[N]` int, each clip's index in the global batch. None draws no stochastic depth.

        Returns:
          `[N, V, C]` float32, or `[N, 8*h*w, C]` of all tokens.

        Raises:
          ValueError: a clip has not 16 frames, or the dimensions include adapters.
        """
        cfg = self.config
        if frames.shape[1] != CHUNK_FRAMES or cfg.tia_blocks:
            raise ValueError(
                f"frames {frames.shape}, adapters in blocks {cfg.tia_blocks}: expected {CHUNK_FRAMES} frames and no "
                "adapters"
            )
        x = patchify(frames, cfg.patch)
        learned: jax.Array | None = self.get_variable("params", "pos_embed")
        positions = position_table(cfg, frames.shape[2] // cfg.patch, frames.shape[3] // cfg.patch, learned)
        if visible is not None:
            x = jnp.take_along_axis(x, visible[..., None], axis=1)
            positions = jnp.asarray(positions)[visible]
        pixels = x.shape[-1] // len(PIXEL_MEAN)
        x = (x.astype(jnp.float32) - np.tile(PIXEL_MEAN, pixels)) / np.tile(PIXEL_STD, pixels)
        x = PatchEmbed(cfg.width, cfg.patch, self.dtype, name="patch_embed")(x).astype(jnp.float32) + positions
        kind = nn.remat(Block, prevent_cse=False) if self.policy.remat else Block
        name = f"blocks_0_{cfg.depth - 1}"
        block = kind(cfg, self.dtype, self.linear_init, self.policy, self.unroll, name=name)
        factors = depth_factors(self, drop_path_rates(cfg), sample_ids)
        x = run_blocks(block, x, cfg.depth, factors, self.unroll)
        return LayerNorm(cfg.norm_eps, name="norm")(x) if self.norm else x
