"""The temporal-informative adapter (TIA): the backbone's only connection across chunks, and its only trainable part.

Without its temporal convolution it is the plain adapter, to which the paper compares it.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from adatad_jax.devices.window_shares import WindowShares
from adatad_jax.models.layers import DepthwiseConv, Dtype, gelu
from adatad_jax.models.sizes import CHUNK_TUBELETS


def as_windows(x: jax.Array, chunks: int) -> jax.Array:
    """Returns tokens of chunks, `[B*N, 8*h*w, C]` with N = `chunks`, as an adapter sees them: `[B, N*8, h*w, C]`."""
    batch, (tokens, width) = len(x) // chunks, x.shape[1:]
    return x.reshape(batch, chunks * CHUNK_TUBELETS, tokens // CHUNK_TUBELETS, width)


class TIA(nn.Module):
    """Temporal-informative adapter (arXiv 2311.17241, section 3.2): a bottleneck with a temporal convolution.

    The convolution spans the whole window: `u = gelu(down(x))`, `v = pointwise(depthwise(u))`, and the output is
    `gamma * up(u + v)`. The output is added to x or, for side adapters, to the backbone's output. `up` starts at zero,
    so an adapter has no effect at first.

    Attributes:
      hidden: channels of the bottleneck.
      dtype: in which products compute.
      shares: the devices that share each window; None: this one has it whole.
      temporal: whether there is the convolution; without it, the adapter is plain: `gamma * up(u)`.
    """

    hidden: int
    dtype: Dtype = jnp.float32
    shares: WindowShares | None = None
    temporal: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Computes the output for `[B, t, h*w, C]`, all tubelets that this device has of B windows; keeps the shape."""
        width = x.shape[-1]
        u = gelu(nn.Dense(self.hidden, kernel_init=nn.initializers.normal(0.02), dtype=self.dtype, name="down")(x))
        if self.temporal:
            u = u + self._convolved(u)
        gamma = self.param("gamma", nn.initializers.ones, ()).astype(self.dtype)
        up = nn.Dense(width, kernel_init=nn.initializers.zeros, dtype=self.dtype, name="up")
        return up(u) * gamma

    def _convolved(self, u: jax.Array) -> jax.Array:
        """Convolves the bottleneck's channels `[B, t, h*w, hidden]` over time; keeps the shape."""
        depthwise = DepthwiseConv(
            nn.initializers.normal((2 / 3) ** 0.5), use_bias=True, dtype=self.dtype, name="depthwise"
        )
        pointwise = nn.Dense(
            self.hidden,
            kernel_init=nn.initializers.normal((2 / self.hidden) ** 0.5),
            dtype=self.dtype,
            name="pointwise",
        )
        result: jax.Array = pointwise(depthwise(u, None if self.shares is None else self.shares.borders(u)))
        return result
