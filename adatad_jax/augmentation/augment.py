"""Augments training windows on the accelerator: two of fifteen operations, then colour jitter, as `augment_draws` drew.

Windows, and groups of frames within a window, are gone through one after the other: only the drawn operations run, and
no more than a few copies of one group is held beside the frames.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from adatad_jax.augmentation import jitter, operations
from adatad_jax.augmentation.draws import Augmentation, JitterDraw, Operation, OperationsDraw

FRAMES_AT_ONCE = 32


def augment(frames: jax.Array, draws: Augmentation) -> jax.Array:
    """Augments the windows of a batch, each by its own draw; to be called under jit.

    Args:
      frames: `[B, T, H, W, 3]` uint8 RGB.
      draws: of `draw_augmentation`, stacked to a leading axis B.

    Returns:
      Frames of the same shape and type.

    Raises:
      ValueError: the frames are not 8-bit RGB.
    """
    if frames.ndim != 5 or frames.shape[-1] != 3 or frames.dtype != jnp.uint8:
        raise ValueError(f"frames are {frames.dtype}{list(frames.shape)}, expected uint8[B, T, H, W, 3]")
    if draws.operations is None and draws.jitter is None:
        return frames
    return jax.lax.map(lambda window: _augment_window(*window), (frames, draws))


def _augment_window(frames: jax.Array, draw: Augmentation) -> jax.Array:
    def augment_group(group: jax.Array) -> jax.Array:
        planes = jnp.moveaxis(group, -1, 1)
        if draw.operations is not None:
            planes = _apply_operations(planes, draw.operations)
        if draw.jitter is not None:
            planes = _apply_jitter(planes, draw.jitter)
        return jnp.moveaxis(planes, 1, -1)

    size = math.gcd(len(frames), FRAMES_AT_ONCE)
    return jax.lax.map(augment_group, frames.reshape(-1, size, *frames.shape[1:])).reshape(frames.shape)


def _apply_operations(planes: jax.Array, draw: OperationsDraw) -> jax.Array:
    """Planes [n, 3, H, W] uint8 after the drawn operations, one after the other."""

    def apply(slot: jax.Array, planes: jax.Array) -> jax.Array:
        branches: tuple[Callable[[jax.Array], jax.Array], ...] = (
            lambda planes: operations.warp(planes, draw.matrices[slot]),  # all up to ROTATE
            operations.posterize,
            operations.solarize,
            operations.enhance_color,
            operations.enhance_contrast,
            operations.enhance_brightness,
            operations.enhance_sharpness,
            operations.autocontrast,
            operations.equalize,
            operations.invert,
            lambda planes: operations.cutout(planes, draw.cutout),
        )
        branch = jnp.maximum(draw.operations[slot] - Operation.ROTATE, 0)
        return jax.lax.switch(branch, branches, planes)

    return jax.lax.fori_loop(0, len(draw.operations), apply, planes)


def _apply_jitter(planes: jax.Array, draw: JitterDraw) -> jax.Array:
    """Planes [n, 3, H, W] uint8 after the four steps: float32, clipped and truncated in the end only."""

    def apply(position: jax.Array, pixels: jax.Array) -> jax.Array:
        branches: tuple[Callable[[jax.Array], jax.Array], ...] = (
            lambda pixels: jitter.adjust_brightness(pixels, draw.factors[0]),
            lambda pixels: jitter.adjust_contrast(pixels, draw.factors[1]),
            lambda pixels: jitter.adjust_saturation(pixels, draw.factors[2]),
            lambda pixels: jitter.adjust_hue(pixels, draw.hue),
        )
        return jax.lax.switch(draw.order[position], branches, pixels)

    pixels = jax.lax.fori_loop(0, len(draw.order), apply, planes.astype(jnp.float32))
    return jnp.clip(pixels, 0, 255).astype(jnp.uint8)
