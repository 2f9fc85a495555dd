"""The steps of the colour jitter. They change planes `[n, 3, H, W]` float32 RGB in 0..255: n frames, each by itself.

Only the hue step clips; the other steps may leave the range 0..255.
"""

import jax
import jax.numpy as jnp

HUES = 180  # steps of two degrees


def adjust_brightness(pixels: jax.Array, factor: jax.Array) -> jax.Array:
    """Returns factor * pixels."""
    return factor * pixels


def adjust_contrast(pixels: jax.Array, factor: jax.Array) -> jax.Array:
    """Returns factor * pixels + (1 - factor) * mean grey of the frame."""
    return factor * pixels + (1 - factor) * _grey(pixels).mean((-2, -1), keepdims=True)


def adjust_saturation(pixels: jax.Array, factor: jax.Array) -> jax.Array:
    """Returns factor * pixels + (1 - factor) * grey."""
    return factor * pixels + (1 - factor) * _grey(pixels)


def adjust_hue(pixels: jax.Array, shift: jax.Array) -> jax.Array:
    """Clips to 0..255, truncates to whole levels, and adds `shift`, int32 in steps of two degrees, to the hue."""
    hue, saturation, value = rgb_to_hsv(jnp.clip(pixels, 0, 255).astype(jnp.int32))
    return hsv_to_rgb((hue + shift) % HUES, saturation, value).astype(jnp.float32)


def rgb_to_hsv(planes: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Converts RGB to hue, saturation and value, equal to OpenCV's for 8-bit pictures.

    Args:
      planes: `[n, 3, H, W]` int32 in 0..255.

    Returns:
      Three arrays `[n, H, W]` int32: hue in 0..179, saturation and value in 0..255.
    """
    red, green, blue = (planes[:, channel] for channel in range(3))
    value = planes.max(1)
    spread = value - planes.min(1)
    # reciprocals in 12-bit fixed point; no quotient lies near enough to a half for a device's rounding to matter
    per_spread = jnp.round(30 * 4096 / jnp.maximum(spread, 1)).astype(jnp.int32)
    per_value = jnp.round(255 * 4096 / jnp.maximum(value, 1)).astype(jnp.int32)
    sector = jnp.where(
        value == red,
        green - blue,
        jnp.where(value == green, blue - red + 2 * spread, red - green + 4 * spread),
    )
    hue = (sector * per_spread + 2048) >> 12
    return jnp.where(hue < 0, hue + HUES, hue), (spread * per_value + 2048) >> 12, value


def hsv_to_rgb(hue: jax.Array, saturation: jax.Array, value: jax.Array) -> jax.Array:
    """Converts hue, saturation and value to RGB.

    Levels are truncated, as in OpenCV's vector code. If the exact level is a whole number, OpenCV's float32 value may
    fall just below that number, and OpenCV gives one level less (for under 1% of all colours).

    Args:
      hue: `[n, H, W]` int32 in 0..179.
      saturation: `[n, H, W]` int32 in 0..255.
      value: `[n, H, W]` int32 in 0..255.

    Returns:
      `[n, 3, H, W]` int32 in 0..255.
    """

    def channel(turn: int) -> jax.Array:
        place = (hue + 30 * turn) % HUES
        faded = jnp.clip(jnp.minimum(place, 120 - place), 0, 30)  # thirtieths of the saturation to subtract
        return value * (30 * 255 - saturation * faded) // (30 * 255)

    return jnp.stack([channel(5), channel(3), channel(1)], axis=1)


def _grey(pixels: jax.Array) -> jax.Array:
    """Returns the grey of each pixel, [n, 1, H, W] float32."""
    return 0.2989 * pixels[:, 0:1] + 0.587 * pixels[:, 1:2] + 0.114 * pixels[:, 2:3]
