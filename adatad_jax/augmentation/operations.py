"""The fifteen operations on planes `[n, 3, H, W]` uint8: n frames, each by itself, at the published recipe's strength.

Where the Python Imaging Library has the operation (`ImageOps`, `ImageEnhance`), the levels are the same as there. Only
`autocontrast` may differ by one level, and `equalize` where level 255 does not occur. Quotients are taken of integers,
so a result on a whole level does not depend on how the device rounds.
"""

import jax
import jax.numpy as jnp

POSTERIZE_MASK = 0xE0
SOLARIZE_FROM = 230
ENHANCE_PERCENT = 172
CUTOUT_VALUE = 128


def warp(planes: jax.Array, matrix: jax.Array) -> jax.Array:
    """Moves pixels: the result at (x, y) is the source at `matrix @ (x, y, 1)`, bilinear, rounded, black outside.

    Args:
      planes: `[n, 3, H, W]` uint8.
      matrix: `[2, 3]` float32, in pixels; (0, 0) is the centre of the first pixel.
    """
    height, width = planes.shape[-2:]
    y, x = jnp.mgrid[:height, :width].astype(jnp.float32)
    # spelled out, because a matrix product may have lower precision on an accelerator
    source_x = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]
    source_y = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]
    left, top = jnp.floor(source_x), jnp.floor(source_y)
    right_share, lower_share = source_x - left, source_y - top
    flat = planes.reshape(*planes.shape[:-2], -1)
    total = jnp.zeros(planes.shape, jnp.float32)
    for row, row_share in ((top, 1 - lower_share), (top + 1, lower_share)):
        for column, column_share in ((left, 1 - right_share), (left + 1, right_share)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            index = jnp.where(inside, row * width + column, 0).astype(jnp.int32)
            tap = jnp.take(flat, index.reshape(-1), axis=-1, mode="clip").reshape(planes.shape)
            total += jnp.where(inside, row_share * column_share, 0) * tap
    return jnp.floor(total + 0.5).astype(jnp.uint8)


def posterize(planes: jax.Array) -> jax.Array:
    """Keeps the three highest bits of each level."""
    result: jax.Array = planes & jnp.uint8(POSTERIZE_MASK)
    return result


def solarize(planes: jax.Array) -> jax.Array:
    """Inverts levels of at least 230."""
    return jnp.where(planes >= SOLARIZE_FROM, 255 - planes, planes)


def enhance_color(planes: jax.Array) -> jax.Array:
    """Moves the frame away from its grey version."""
    return _enhance(planes, _grey(planes))


def enhance_contrast(planes: jax.Array) -> jax.Array:
    """Moves the frame away from its mean grey, which is rounded to a whole level."""
    grey = _grey(planes)
    pixels = grey.shape[-2] * grey.shape[-1]
    mean = (2 * grey.sum((-2, -1), keepdims=True) + pixels) // (2 * pixels)
    return _enhance(planes, mean)


def enhance_brightness(planes: jax.Array) -> jax.Array:
    """Moves the frame away from black."""
    return _enhance(planes, jnp.zeros((), jnp.int32))


def enhance_sharpness(planes: jax.Array) -> jax.Array:
    """Moves the frame away from its smoothed version; pixels on the border stay.

    The smoothing kernel is 3 x 3 ones with 5 in the middle, divided by 13; smoothed levels are rounded.
    """
    height, width = planes.shape[-2:]
    padded = jnp.pad(planes.astype(jnp.int32), ((0, 0), (0, 0), (1, 1), (1, 1)))
    window = sum(padded[..., row : row + height, column : column + width] for row in range(3) for column in range(3))
    smooth = (2 * (window + 4 * planes.astype(jnp.int32)) + 13) // 26
    y, x = jnp.mgrid[:height, :width]
    border = (y == 0) | (y == height - 1) | (x == 0) | (x == width - 1)
    return jnp.where(border, planes, _enhance(planes, smooth))


def autocontrast(planes: jax.Array) -> jax.Array:
    """Stretches each channel of each frame to 0..255, truncated; a channel with only one level stays."""
    lowest = planes.min((-2, -1), keepdims=True).astype(jnp.float32)
    highest = planes.max((-2, -1), keepdims=True).astype(jnp.float32)
    # with half a unit added to the integer numerator, the floor is exact however the device rounds a division
    stretched = jnp.floor(((planes - lowest) * 255 + 0.5) / jnp.maximum(highest - lowest, 1))
    return jnp.where(highest > lowest, stretched, planes).astype(jnp.uint8)


def equalize(planes: jax.Array) -> jax.Array:
    """Flattens the histogram of each channel of each frame; a channel with only one level stays."""
    pixels = planes.shape[-2] * planes.shape[-1]
    flat = planes.reshape(*planes.shape[:-2], pixels)
    counts = _histogram(flat)
    step = counts[..., :255].sum(-1, keepdims=True) // 255
    below = jnp.cumsum(counts, axis=-1) - counts
    table = jnp.minimum((step // 2 + below) // jnp.maximum(step, 1), 255).astype(jnp.uint8)
    keep = (step == 0) | (counts.max(-1, keepdims=True) == pixels)
    equalized = jnp.take_along_axis(table, flat.astype(jnp.int32), axis=-1)
    return jnp.where(keep, flat, equalized).reshape(planes.shape)


def invert(planes: jax.Array) -> jax.Array:
    """Returns 255 - level."""
    return 255 - planes


def cutout(planes: jax.Array, box: jax.Array) -> jax.Array:
    """Greys out rows box[0]..box[2]-1 of columns box[1]..box[3]-1; `box` is `[4]` int32."""
    y, x = jnp.mgrid[: planes.shape[-2], : planes.shape[-1]]
    inside = (y >= box[0]) & (x >= box[1]) & (y < box[2]) & (x < box[3])
    return jnp.where(inside, jnp.uint8(CUTOUT_VALUE), planes)


def _enhance(planes: jax.Array, degenerate: jax.Array) -> jax.Array:
    """Returns degenerate + 1.72 * (planes - degenerate), clipped and truncated; `degenerate` is int32."""
    hundredfold = ENHANCE_PERCENT * planes.astype(jnp.int32) - (ENHANCE_PERCENT - 100) * degenerate
    return (jnp.clip(hundredfold, 0, 25500) // 100).astype(jnp.uint8)


def _grey(planes: jax.Array) -> jax.Array:
    """Returns 0.299 R + 0.587 G + 0.114 B, [n, 1, H, W] int32, rounded in 16-bit fixed point as PIL's mode "L"."""
    red, green, blue = (planes[:, channel : channel + 1].astype(jnp.int32) for channel in range(3))
    return (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16


def _histogram(flat: jax.Array) -> jax.Array:
    """Returns the counts [n, 3, 256] int32 of the levels of [n, 3, pixels] uint8.

    The counts of (high four bits, low four bits) are a matrix product of zeros and ones, which is exact in bfloat16
    with sums in float32. Scattered additions would be slow on accelerators.
    """
    nibbles = jnp.arange(16, dtype=jnp.uint8)[:, None]

    def counts(frame: jax.Array) -> jax.Array:
        high = ((frame >> 4)[:, None] == nibbles).astype(jnp.bfloat16)
        low = ((frame & 15)[:, None] == nibbles).astype(jnp.bfloat16)
        pairs = jnp.einsum("chp,clp->chl", high, low, preferred_element_type=jnp.float32)
        return pairs.reshape(len(frame), 256).astype(jnp.int32)

    result: jax.Array = jax.lax.map(counts, flat)
    return result
