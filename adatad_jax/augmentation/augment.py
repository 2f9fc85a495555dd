"""Augmentation of training windows on the accelerator: two of fifteen operations, then colour jitter.

`draws.draw_augmentation` draws both on the host. Windows, and groups of frames within a window, are processed one after
the other: only the drawn operations run, and at most a few copies of one group are held in memory beside the frames.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from adatad_jax.augmentation import jitter, operations
from adatad_jax.augmentation.draws import Augmentation, JitterDraw, Operation, OperationsDraw

FRAMES_AT_ONCE = 16  # divides a device's share of a window, so that shares are computed as whole windows are


def augment(frames: jax.Array, draws: Augmentation) -> jax.Array:
    """Augments the windows of a batch, each by its own draw. Call it under jit.

    Args:
      frames: `[B, T, H, W, 3]` uint8 RGB.
      draws: draws of `draw_augmentation`, one per window, stacked along a leading axis B. Without any, anything is
        returned as it is.

    Returns:
      `[B, T, H, W, 3]` uint8 RGB.

    Raises:
      ValueError: the frames are not 8-bit RGB.
    """
    if draws.operations is None and draws.jitter is None:
        return frames
    if frames.ndim != 5 or frames.shape[-1] != 3 or frames.dtype != jnp.uint8:
        raise ValueError(f"frames are {frames.dtype}{list(frames.shape)}, expected uint8[B, T, H, W, 3]")
    result: jax.Array = jax.lax.map(lambda window: _augment_window(*window), (frames, draws))
    return result


def _augment_window(frames: jax.Array, draw: Augmentation) -> jax.Array:
    """Augments one window [T, H, W, 3], one group of frames after the other."""

    def augment_group(group: jax.Array) -> jax.Array:
        planes = jnp.moveaxis(group, -1, 1)
        if draw.operations is not None:
            planes = _apply_operations(planes, draw.operations)
        if draw.jitter is not None:
            planes = _apply_jitter(planes, draw.jitter)
        return jnp.moveaxis(planes, 1, -1)

    size = math.gcd(len(frames), FRAMES_AT_ONCE)
    result: jax.Array = jax.lax.map(augment_group, frames.reshape(-1, size, *frames.shape[1:])).reshape(frames.shape)
    return result


def _apply_operations(planes: jax.Array, draw: OperationsDraw) -> jax.Array:
    """Applies the drawn operations, one after the other, to planes [n, 3, H, W] uint8."""

    def apply(slot: jax.Array, planes: jax.Array) -> jax.Array:
        branches: tuple[Callable[[jax.Array], jax.Array], ...] = (
            lambda planes: operations.warp(planes, draw.matrices[slot]),  # every operation up to ROTATE
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
        result: jax.Array = jax.lax.switch(branch, branches, planes)
        return result

    result: jax.Array = jax.lax.fori_loop(0, len(draw.operations), apply, planes)
    return result


def _apply_jitter(planes: jax.Array, draw: JitterDraw) -> jax.Array:
    """Applies the four jitter steps to planes [n, 3, H, W] uint8 in float32; clips and truncates only at the end."""

    def apply(position: jax.Array, pixels: jax.Array) -> jax.Array:
        branches: tuple[Callable[[jax.Array], jax.Array], ...] = (
            lambda pixels: jitter.adjust_brightness(pixels, draw.factors[0]),
            lambda pixels: jitter.adjust_contrast(pixels, draw.factors[1]),
            lambda pixels: jitter.adjust_saturation(pixels, draw.factors[2]),
            lambda pixels: jitter.adjust_hue(pixels, draw.hue),
        )
        result: jax.Array = jax.lax.switch(draw.order[position], branches, pixels)
        return result

    pixels = jax.lax.fori_loop(0, len(draw.order), apply, planes.astype(jnp.float32))
    return jnp.clip(pixels, 0, 255).astype(jnp.uint8)
