"""Fixed sinusoid positions and their resizing, computed on the host in float64 and used in float32."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

CUBIC_A = -0.75  # torch's bicubic; jax.image.resize uses -0.5 and antialiases


@functools.cache
def sinusoid_table(length: int, width: int) -> np.ndarray:
    """Sinusoid position table `[length, width]` float32: even channels sin, odd cos (VideoMAE)."""
    channel = np.arange(width)
    angle = np.arange(length)[:, None] / np.power(10000.0, 2 * (channel // 2) / width)[None]
    angle[:, 0::2] = np.sin(angle[:, 0::2])
    angle[:, 1::2] = np.cos(angle[:, 1::2])
    return angle.astype(np.float32)


def _weights(taps: np.ndarray, values: np.ndarray, source: int) -> np.ndarray:
    """Dense `[out, source]` matrix from taps `[out, n]` (clamped at the edges) and their weights."""
    matrix = np.zeros((taps.shape[0], source))
    rows = np.repeat(np.arange(taps.shape[0]), taps.shape[1])
    np.add.at(matrix, (rows, np.clip(taps, 0, source - 1).ravel()), values.ravel())
    return matrix.astype(np.float32)


def _half_pixel(source: int, out: int) -> np.ndarray:
    return (np.arange(out) + 0.5) * (source / out) - 0.5


def bicubic_weights(source: int, out: int) -> np.ndarray:
    """`[out, source]` float32 matrix of torch's bicubic resize: half-pixel centres, A = -0.75, no antialias."""
    centre = _half_pixel(source, out)
    first = np.floor(centre).astype(int)
    taps = first[:, None] + np.arange(-1, 3)
    distance = np.abs(centre[:, None] - taps)
    near = (CUBIC_A + 2) * distance**3 - (CUBIC_A + 3) * distance**2 + 1
    far = CUBIC_A * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    return _weights(taps, np.where(distance <= 1, near, far), source)


def linear_weights(source: int, out: int) -> np.ndarray:
    """`[out, source]` float32 matrix of torch's linear resize: half-pixel centres, clamped edges, no antialias."""
    centre = np.maximum(_half_pixel(source, out), 0)
    first = np.floor(centre).astype(int)
    fraction = centre - first
    return _weights(np.stack([first, first + 1], 1), np.stack([1 - fraction, fraction], 1), source)


def resize_positions(table: np.ndarray | jax.Array, grid: int, height: int, width: int) -> np.ndarray | jax.Array:
    """Resizes a `[t*grid*grid, C]` position table spatially to `[t*height*width, C]`, each of the t slices alone.

    A numpy table is resized on the host, so that the standard table is a constant of the compiled program; a traced one
    (positions that came with a checkpoint) in it, in float32.
    """
    if (height, width) == (grid, grid):
        return table
    einsum = np.einsum if isinstance(table, np.ndarray) else functools.partial(jnp.einsum, precision="highest")
    slices = table.reshape(-1, grid, grid, table.shape[-1])
    resized = einsum("hy,wx,tyxc->thwc", bicubic_weights(grid, height), bicubic_weights(grid, width), slices)
    return resized.reshape(-1, table.shape[-1])


def resize_time(x: jax.Array, length: int) -> jax.Array:
    """Linear interpolation in time `[B, T, C]` -> `[B, length, C]`, as torch `interpolate(mode="linear")`."""
    if x.shape[1] == length:
        return x
    return jnp.einsum("lt,btc->blc", linear_weights(x.shape[1], length), x, precision="highest")
