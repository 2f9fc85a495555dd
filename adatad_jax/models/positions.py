"""Fixed sinusoid positions, and resizing in space and time; weights are computed on the host in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

CUBIC_A = -0.75  # torch's bicubic coefficient; jax.image.resize uses -0.5 and antialiases


@functools.cache
def sinusoid_table(length: int, width: int) -> np.ndarray:
    """Returns the sinusoid table `[length, width]` float32: even channels sin, odd channels cos (arXiv 2203.12602)."""
    channel = np.arange(width)
    angle = np.arange(length)[:, None] / np.power(10000.0, 2 * (channel // 2) / width)[None]
    angle[:, 0::2] = np.sin(angle[:, 0::2])
    angle[:, 1::2] = np.cos(angle[:, 1::2])
    return angle.astype(np.float32)


def _weights(taps: np.ndarray, values: np.ndarray, source: int) -> np.ndarray:
    """Makes a dense `[out, source]` matrix from taps `[out, n]` (clamped at the edges) and their weights."""
    matrix = np.zeros((taps.shape[0], source))
    rows = np.repeat(np.arange(taps.shape[0]), taps.shape[1])
    np.add.at(matrix, (rows, np.clip(taps, 0, source - 1).ravel()), values.ravel())
    return matrix.astype(np.float32)


def _half_pixel(source: int, out: int) -> np.ndarray:
    """Returns the source coordinates `[out]` of the resized samples, with half-pixel centres."""
    return (np.arange(out) + 0.5) * (source / out) - 0.5


def bicubic_weights(source: int, out: int) -> np.ndarray:
    """Returns the matrix of torch's bicubic resize: half-pixel centres, A = -0.75, no antialiasing.

    Args:
      source: length before resizing.
      out: length after resizing.

    Returns:
      `[out, source]` float32.
    """
    centre = _half_pixel(source, out)
    first = np.floor(centre).astype(int)
    taps = first[:, None] + np.arange(-1, 3)
    distance = np.abs(centre[:, None] - taps)
    near = (CUBIC_A + 2) * distance**3 - (CUBIC_A + 3) * distance**2 + 1
    far = CUBIC_A * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    return _weights(taps, np.where(distance <= 1, near, far), source)


def linear_weights(source: int, out: int) -> np.ndarray:
    """Returns the matrix of torch's linear resize: half-pixel centres, clamped edges, no antialiasing.

    Args:
      source: length before resizing.
      out: length after resizing.

    Returns:
      `[out, source]` float32.
    """
    centre = np.maximum(_half_pixel(source, out), 0)
    first = np.floor(centre).astype(int)
    fraction = centre - first
    return _weights(np.stack([first, first + 1], 1), np.stack([1 - fraction, fraction], 1), source)


def resize_positions(table: np.ndarray | jax.Array, grid: int, height: int, width: int) -> np.ndarray | jax.Array:
    """Resizes a position table in space, each of its t slices separately, by torch's bicubic interpolation.

    A NumPy table is resized on the host, so that the standard table is a constant of the compiled program. A traced
    table (positions that came with a checkpoint) is resized inside the program, in float32.

    Args:
      table: `[t*grid*grid, C]`.
      grid: side of the pre-training grid, patches.
      height, width: new sides h and w, patches.

    Returns:
      `[t*height*width, C]`.
    """
    if (height, width) == (grid, grid):
        return table
    einsum = np.einsum if isinstance(table, np.ndarray) else functools.partial(jnp.einsum, precision="highest")
    slices = table.reshape(-1, grid, grid, table.shape[-1])
    resized = einsum("hy,wx,tyxc->thwc", bicubic_weights(grid, height), bicubic_weights(grid, width), slices)
    return resized.reshape(-1, table.shape[-1])


def resize_time(x: jax.Array, length: int) -> jax.Array:
    """Interpolates `[B, T, C]` linearly in time to `[B, length, C]`, as torch `interpolate(mode="linear")`."""
    if x.shape[1] == length:
        return x
    return jnp.einsum("lt,btc->blc", linear_weights(x.shape[1], length), x, precision="highest")
