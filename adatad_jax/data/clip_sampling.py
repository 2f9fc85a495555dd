"""Which source frames a clip has: 16, a whole stride apart."""

from __future__ import annotations

import numpy as np

from adatad_jax.models.sizes import CHUNK_FRAMES


def fitting_stride(frames: int, stride: int) -> int:
    """Returns the stride of a video's clips: the wanted one, or the largest at which a clip fits.

    Args:
      frames: of the video, at least 16.
      stride: wanted, source frames.
    """
    return min(stride, (frames - 1) // (CHUNK_FRAMES - 1))


def clip_span(stride: int) -> int:
    """Returns how many source frames a clip takes, from its first to its last."""
    return (CHUNK_FRAMES - 1) * stride + 1


def clip_frames(start: int, stride: int) -> np.ndarray:
    """Returns the source frames of a clip, `[16]` int64."""
    return start + stride * np.arange(CHUNK_FRAMES)


def draw_clip(rng: np.random.Generator, frames: int, stride: int) -> np.ndarray:
    """Draws a clip uniformly from all that fit into a video.

    Args:
      rng: the source of randomness.
      frames: of the video, at least 16.
      stride: wanted, source frames; a video that is too short for it has the largest that fits.

    Returns:
      `[16]` int64, source frames.
    """
    stride = fitting_stride(frames, stride)
    return clip_frames(int(rng.integers(frames - clip_span(stride), endpoint=True)), stride)


def spread_clips(frames: int, stride: int, count: int) -> np.ndarray:
    """Spreads clips evenly over a video: the first starts with it, and the last ends with it; one is in the middle.

    Args:
      frames: of the video, at least 16.
      stride: wanted, source frames; a video that is too short for it has the largest that fits.
      count: of clips; where there are more than start frames, some are equal.

    Returns:
      `[count, 16]` int64, source frames.
    """
    stride = fitting_stride(frames, stride)
    return np.stack([clip_frames(start, stride) for start in spread(frames - clip_span(stride), count)])


def spread(room: int, count: int) -> list[int]:
    """Returns whole numbers spread evenly from 0 to `room`, rounded down; the middle alone if `count` is 1."""
    return [room // 2] if count == 1 else [number * room // (count - 1) for number in range(count)]
