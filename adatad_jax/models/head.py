"""ActionFormer's neck and heads: a norm per level, then class and boundary towers shared by all levels."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from adatad_jax.models.layers import Dtype, LayerNorm, uniform_bias, uniform_fan_in
from adatad_jax.models.projection import CONV_NORM_EPS, MaskedConv

CLASS_PRIOR = 0.01  # initial class probability


class Neck(nn.Module):
    """One LayerNorm per pyramid level; its output is not masked (release rule)."""

    @nn.compact
    def __call__(self, levels: list[jax.Array]) -> list[jax.Array]:
        """L levels of `[B, T_l, D]` -> the same shapes."""
        return [LayerNorm(CONV_NORM_EPS, name=f"norm_{i}")(x) for i, x in enumerate(levels)]


class Tower(nn.Module):
    """`convs` masked convolutions, then a plain one of width 3 with bias."""

    features: int
    out: int
    convs: int
    bias_init: nn.initializers.Initializer
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
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
    """Class logits and boundary distances for every position of every level.

    The towers are shared, so the levels are laid end to end with one invalid position between them, which acts as the
    zero padding of each: a tower runs once instead of L times.
    """

    classes: int
    features: int
    convs: int
    dtype: Dtype

    @nn.compact
    def __call__(self, levels: list[jax.Array], masks: list[jax.Array]) -> tuple[list[jax.Array], list[jax.Array]]:
        """L levels of `[B, T_l, D]` and of `[B, T_l]` masks -> logits `[B, T_l, K]`, distances `[B, T_l, 2]` >= 0.

        Distances (to start, to end) are in strides of the level. Outputs at invalid positions are unmasked.
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
