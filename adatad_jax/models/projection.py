"""ActionFormer's projection from window features to a temporal feature pyramid (arXiv 2202.07925, section 3.3)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from adatad_jax.models.attention import global_attention, local_attention
from adatad_jax.models.layers import DepthwiseConv, Dtype, LayerNorm, depth_factors, dropout, gelu, uniform_fan_in
from adatad_jax.models.positions import linear_weights, sinusoid_table
from adatad_jax.models.sizes import DetectorConfig

CONV_NORM_EPS = 1e-6  # norms after convolutions, and the neck's
BLOCK_NORM_EPS = 1e-5  # norms inside transformer blocks


def conv1x1(features: int, dtype: Dtype, name: str) -> nn.Dense:
    """Makes a convolution of width 1 with bias, initialised as in torch."""
    return nn.Dense(features, kernel_init=uniform_fan_in, dtype=dtype, name=name)


def drop_elements(module: nn.Module, x: jax.Array, rate: float, sample_ids: jax.Array | None) -> jax.Array:
    """Applies elementwise dropout to `[B, T, C]` with the module's next key; does nothing outside training.

    Args:
      module: the module that provides the key.
      x: `[B, T, C]`.
      rate: probability of dropping.
      sample_ids: `[B]` int in training, each window's index in the global batch; None outside training.
    """
    if sample_ids is None or rate == 0:
        return x
    return dropout(x, rate, module.make_rng("dropout"), sample_ids, x.shape[1:])


class MaskedConv(nn.Module):
    """A convolution of width 3 without bias, then mask, LayerNorm, ReLU and mask."""

    features: int
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        """Maps `[B, T, C]` and the mask `[B, T]` bool to `[B, T, features]`, zero at invalid positions."""
        keep = mask[..., None]
        conv = nn.Conv(
            self.features,
            (3,),
            padding=1,
            use_bias=False,
            kernel_init=uniform_fan_in,
            dtype=self.dtype,
            name="conv",
        )
        x = jnp.where(keep, conv(x), 0)
        x = LayerNorm(CONV_NORM_EPS, dtype=self.dtype, name="norm")(x)
        return jnp.where(keep, nn.relu(x), 0)


class MaskedAttention(nn.Module):
    """Multi-head attention whose q, k and v first pass a depthwise convolution, possibly strided, and a norm each."""

    heads: int
    stride: int
    window: int | None
    dropout: float
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array, sample_ids: jax.Array | None) -> jax.Array:
        """Attends over time.

        Args:
          x: `[B, T, C]`.
          mask: `[B, T/stride]` bool, valid positions of the output.
          sample_ids: `[B]` int in training, each window's index in the global batch; None outside training.

        Returns:
          `[B, T/stride, C]`, zero at invalid positions.
        """
        width = x.shape[-1]

        def branch(name: str) -> jax.Array:
            """Makes q, k or v, `[B, T/stride, heads, C/heads]`."""
            y = DepthwiseConv(uniform_fan_in, self.stride, dtype=self.dtype, name=f"{name}_conv")(x)
            y = LayerNorm(BLOCK_NORM_EPS, dtype=self.dtype, name=f"{name}_norm")(y)
            return conv1x1(width, self.dtype, name)(y).reshape(*y.shape[:2], self.heads, width // self.heads)

        q, k, v = branch("query"), branch("key"), branch("value")
        q = q * (width // self.heads) ** -0.5
        out = global_attention(q, k, v, mask) if self.window is None else local_attention(q, k, v, mask, self.window)
        out = conv1x1(width, self.dtype, "proj")(out.reshape(*out.shape[:2], width))
        out = drop_elements(self, out, self.dropout, sample_ids)
        return jnp.where(mask[..., None], out, 0)


def max_pool(x: jax.Array, stride: int) -> jax.Array:
    """Takes the maximum over windows of 3 positions, with padding 1.

    The gradient goes to the first position that has the maximum, as in torch. It is a sum of shifted sequences, which
    is the same each time; that of XLA's own pooling is not on a GPU.

    Args:
      x: `[B, T, C]`.
      stride: positions from one window to the next.

    Returns:
      `[B, ceil(T/stride), C]`.
    """
    padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0)), constant_values=-jnp.inf)
    first, second, third = (padded[:, tap : tap + x.shape[1] : stride] for tap in range(3))
    most = jnp.where(second > first, second, first)
    return jnp.where(third > most, third, most)


class AffineDropPath(nn.Module):
    """A learned scale per channel, then stochastic depth per sample."""

    @nn.compact
    def __call__(self, x: jax.Array, factors: jax.Array | None) -> jax.Array:
        """Scales `[B, T, C]`, and in training also by `factors` `[B]` of `keep_factors`, else None."""
        x = x * self.param("scale", nn.initializers.constant(1e-4), (x.shape[-1],))
        return x if factors is None else x * factors[:, None, None]


class TransformerBlock(nn.Module):
    """A pre-norm transformer block over time; stride 2 halves the sequence (max-pooled shortcut, strided attention)."""

    heads: int
    stride: int
    window: int | None
    dropout: float
    dtype: Dtype

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        mask: jax.Array,
        sample_ids: jax.Array | None = None,
        factors: jax.Array | None = None,
    ) -> jax.Array:
        """Applies the block.

        Args:
          x: `[B, T, C]` float32.
          mask: `[B, T/stride]` bool, valid positions of the output.
          sample_ids: `[B]` int in training, each window's index in the global batch; None outside training.
          factors: `[B, 2]` float32, this block's of `depth_factors`; None draws no stochastic depth.

        Returns:
          `[B, T/stride, C]` float32.
        """
        width = x.shape[-1]
        of_attention, of_mlp = (None, None) if factors is None else (factors[:, 0], factors[:, 1])
        y = LayerNorm(BLOCK_NORM_EPS, dtype=self.dtype, name="ln1")(x)
        attention = MaskedAttention(self.heads, self.stride, self.window, self.dropout, self.dtype, name="attn")
        y = attention(y, mask, sample_ids)
        if self.stride > 1:
            x = max_pool(x, self.stride)
        x = jnp.where(mask[..., None], x, 0) + AffineDropPath(name="drop_path_attn")(y, of_attention)
        y = LayerNorm(BLOCK_NORM_EPS, dtype=self.dtype, name="ln2")(x)
        y = drop_elements(self, gelu(conv1x1(4 * width, self.dtype, "fc1")(y)), self.dropout, sample_ids)
        y = drop_elements(self, conv1x1(width, self.dtype, "fc2")(y), self.dropout, sample_ids)
        y = jnp.where(mask[..., None], y, 0)
        return x + AffineDropPath(name="drop_path_mlp")(y, of_mlp)


class Projection(nn.Module):
    """Embedding convolutions, stem blocks at full length, then blocks that each halve the length.

    The stem has the attention window of the first level. The sinusoid table, if there is one, is added to the embedded
    features.

    Attributes:
      config: dimensions.
      dtype: dtype of the computations inside the blocks.
    """

    config: DetectorConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, masks: list[jax.Array], sample_ids: jax.Array | None = None) -> list[jax.Array]:
        """Builds the pyramid.

        Args:
          x: `[B, T, C]` float32, window features.
          masks: L arrays `[B, T_l]` bool, valid positions (`pyramid.level_masks`).
          sample_ids: `[B]` int in training, each window's index in the global batch; None outside training.

        Returns:
          L levels of `[B, T_l, width]` float32.
        """
        cfg, mask = self.config, masks[0]
        for i in range(cfg.embed):
            x = MaskedConv(cfg.width, self.dtype, name=f"embed_{i}")(x, mask)
        x = x.astype(jnp.float32)
        if cfg.absolute_positions:
            x = x + jnp.where(mask[..., None], self._positions(x.shape[1]), 0)

        factors = depth_factors(self, np.full(cfg.stem + cfg.branch, cfg.drop_path), sample_ids)

        def block(name: str, number: int, level: int, x: jax.Array) -> jax.Array:
            """Applies a block: a stem block for level 0, else a downsampling block."""
            stride, window = 2 if level else 1, cfg.windows[level]
            made = TransformerBlock(cfg.heads, stride, window, cfg.dropout, self.dtype, name=name)
            own = None if factors is None else factors[number]
            return jnp.asarray(made(x, masks[level], sample_ids, own))

        for i in range(cfg.stem):
            x = block(f"stem_{i}", i, 0, x)
        levels = [x]
        for i in range(cfg.branch):
            levels.append(block(f"branch_{i}", cfg.stem + i, i + 1, levels[-1]))
        return levels

    def _positions(self, length: int) -> np.ndarray:
        """Returns the sinusoid table of this length, interpolated beyond the training length."""
        longest, width = self.config.max_length, self.config.width
        table = sinusoid_table(longest, width) / np.float32(width**0.5)
        if length <= longest:
            return table[:length]
        return linear_weights(longest, length) @ table
