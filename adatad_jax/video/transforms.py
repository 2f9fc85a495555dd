"""Geometric transforms of a clip: resizing, cropping, flipping. One random draw applies to all frames of a window.

Frames are [T, H, W, 3] uint8 RGB before and after every transform. Resizing is bilinear with half-pixel centres and
without antialiasing, as in the release.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Box = tuple[int, int, int, int]  # top, left, height, width in pixels

CROP_TRIES = 10


def short_side_shape(height: int, width: int, size: int) -> tuple[int, int]:
    """Returns the height and width, in pixels, after scaling the short side to `size`: int(side * scale + 0.5) each."""
    scale = size / min(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)


def resize_short_side(frames: Images, size: int) -> Images:
    """Resizes frames [T, H, W, 3] so that their short side is `size` pixels."""
    height, width = frames.shape[1:3]
    return _resize(frames, *short_side_shape(height, width, size))


def centre_box(height: int, width: int, size: int) -> Box:
    """Returns the box of the centred square with a side of `size` pixels; its offsets are rounded down.

    Raises:
      ValueError: the frames are smaller than the square.
    """
    if min(height, width) < size:
        raise ValueError(f"frames of {height} x {width} pixels hold no square of {size}")
    return (height - size) // 2, (width - size) // 2, size, size


def random_resized_crop_box(height: int, width: int, rng: np.random.Generator) -> Box:
    """Draws the box of a random resized crop (the release's rule).

    Up to ten times, a share of the area is drawn from U(0.08, 1) and an aspect ratio (width / height) from
    exp(U(log 3/4, log 4/3)). The first box that fits is placed uniformly. If none fits, the box is the centred square
    of the short side.

    Args:
      height: height of the frames, in pixels.
      width: width of the frames, in pixels.
      rng: the source of randomness.

    Returns:
      (top, left, height, width) in pixels.
    """
    for _ in range(CROP_TRIES):
        area = rng.uniform(0.08, 1) * height * width
        aspect = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        box_width, box_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < box_height <= height and 0 < box_width <= width:
            top = int(rng.integers(0, height - box_height, endpoint=True))
            left = int(rng.integers(0, width - box_width, endpoint=True))
            return top, left, box_height, box_width
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side, side


def crop_resize(frames: Images, box: Box, size: int) -> Images:
    """Cuts `box` out of frames [T, H, W, 3] and resizes it to [T, size, size, 3]."""
    top, left, height, width = box
    return _resize(frames[:, top : top + height, left : left + width], size, size)


def flip(frames: Images) -> Images:
    """Mirrors frames [T, H, W, 3] left to right."""
    out = np.empty_like(frames)
    for source, target in zip(frames, out, strict=True):
        cv2.flip(source, 1, dst=target)  # fifteen times faster than numpy's copy of a reversed axis
    return out


def _resize(frames: Images, height: int, width: int) -> Images:
    """Resizes frames to this height and width; returns frames that have that size already as they are."""
    if frames.shape[1:3] == (height, width):
        return frames
    out = np.empty((len(frames), height, width, 3), np.uint8)
    for source, target in zip(frames, out, strict=True):
        cv2.resize(source, (width, height), dst=target, interpolation=cv2.INTER_LINEAR)
    return out
