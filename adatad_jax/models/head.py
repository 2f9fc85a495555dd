"""ActionFormer's neck and head (arXiv 2202.07925): a norm per level, then class and boundary towers for all levels."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from adatad_jax.models.layers import Dtype, LayerNorm, uniform_bias, uniform_fan_in
from adatad_jax.models.projection import CONV_NORM_EPS, MaskedConv

CLASS_PRIOR = 0.01  # initial class probability


class Neck(nn.Module):
    """One LayerNorm per pyramid level; its output is not masked (the release's rule)."""

    @nn.compact
    def __call__(self, levels: list[jax.Array]) -> list[jax.Array]:
        """Normalises L levels of `[B, T_l, C]`; returns levels of the same shapes."""
        return [LayerNorm(CONV_NORM_EPS, name=f"norm_{i}")(x) for i, x in enumerate(levels)]


class Tower(nn.Module):
    """A tower of `convs` masked convolutions, then an unmasked convolution of width 3 with bias."""

    features: int
    out: int
    convs: int
    bias_init: nn.initializers.Initializer
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        """Maps `[B, T, C]` and the mask `[B, T]` bool to `[B, T, out]` float32."""
        for i in range(self.convs):
            x = MaskedConv(self.features, self.dtype, name=f"conv_{i}")(x, mask)
        last = nn.Conv(
            self.out,
            (3,),
            padding=1,
            kernel_init=uniform_fan_in,
            bias_init=self.bias_init,
            dtype=self.dtype,
            name="out",
        )
        return last(x).astype(jnp.float32)


class Head(nn.Module):
    """The class and boundary towers, applied to every position of every level.

    All levels share the towers. The levels are therefore laid end to end, with one invalid position between them that
    acts as the zero padding of each, so that a tower runs once instead of L times.
    """

    classes: int
    features: int
    convs: int
    dtype: Dtype

    @nn.compact
    def __call__(self, levels: list[jax.Array], masks: list[jax.Array]) -> tuple[list[jax.Array], list[jax.Array]]:
        """Predicts classes and boundaries. Outputs at invalid positions are not masked.

        Args:
          levels: L levels of `[B, T_l, C]`.
          masks: L masks `[B, T_l]` bool, valid positions.

        Returns:
          Per level, class logits `[B, T_l, K]`, and distances to start and end `[B, T_l, 2]`, at least 0, in strides of
          the level; all float32.
        """
        x = jnp.concatenate([jnp.pad(level, ((0, 0), (0, 1), (0, 0))) for level in levels], 1)
        mask = jnp.concatenate([jnp.pad(m, ((0, 0), (0, 1))) for m in masks], 1)
        prior = nn.initializers.constant(-math.log((1 - CLASS_PRIOR) / CLASS_PRIOR))
        logits = Tower(self.features, self.classes, self.convs, prior, self.dtype, name="class_tower")(x, mask)
        free = uniform_bias(3 * self.features)
        distances = Tower(self.features, 2, self.convs, free, self.dtype, name="boundary_tower")(x, mask)
        scale = self.param("scale", nn.initializers.ones, (len(levels),))

        split_logits, split_distances = [], []
        start = 0
        for i, level in enumerate(levels):
            part = slice(start, start + level.shape[1])
            split_logits.append(logits[:, part])
            split_distances.append(nn.relu(distances[:, part] * scale[i]))
            start = part.stop + 1
        return split_logits, split_distances
