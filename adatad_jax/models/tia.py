"""The temporal-informative adapter (TIA): the only path across chunks, and the only trainable part of the backbone."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from adatad_jax.models.layers import DepthwiseConv, Dtype, gelu


class TIA(nn.Module):
    """Temporal-informative adapter (AdaTAD, section 3.2): bottleneck with a temporal convolution over the whole window.

    `u = gelu(down(x))`, `v = pointwise(depthwise(u))`, output `gamma * up(u + v)`, to be added to x or, by side
    adapters, to the backbone's output; `up` starts at zero, so an adapter starts without effect.
    """

    hidden: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[B, t, h*w, C]` -> what to add, of the same shape, t being all tubelets of the window."""
        width = x.shape[-1]
        u = gelu(nn.Dense(self.hidden, kernel_init=nn.initializers.normal(0.02), dtype=self.dtype, name="down")(x))
        depthwise = DepthwiseConv(
            nn.initializers.normal((2 / 3) ** 0.5), use_bias=True, dtype=self.dtype, name="depthwise"
        )
        pointwise = nn.Dense(
            self.hidden,
            kernel_init=nn.initializers.normal((2 / self.hidden) ** 0.5),
            dtype=self.dtype,
            name="pointwise",
        )
        v = pointwise(depthwise(u))
        gamma = self.param("gamma", nn.initializers.ones, ()).astype(self.dtype)
        up = nn.Dense(width, kernel_init=nn.initializers.zeros, dtype=self.dtype, name="up")
        return up(u + v) * gamma
