"""The cost of decoding a clip: seconds on one core, and bytes in a cache."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from adatad_jax.data.cache import DEFAULT_QUALITY, GROUP, STRIP, encode_strip
from adatad_jax.video import transforms
from adatad_jax.video.decode import frames_at
from adatad_jax.video.readers import PYAV
from adatad_jax.video.steady import open_steady

PACKED_GROUPS = 4  # groups of frames per video that the size of a cache is estimated from


class Clip(NamedTuple):
    """Some frames of a video file, as ascending indices, to be read at a short side in pixels with a reader."""

    path: Path
    frames: tuple[int, ...]
    short_side: int
    reader: str = PYAV


class Cost(NamedTuple):
    """The cost of a clip: seconds on one core to decode and resize it, and bytes per frame in a cache."""

    seconds: float
    frame_bytes: float


def measure(clip: Clip) -> Cost:
    """Measures the cost of a clip: decodes and resizes it as a run does, and packs some of its frames as a cache does.

    Raises:
      UserError: the file cannot be read.
    """
    cv2.setNumThreads(1)
    start = time.process_time()
    frames = frames_at(
        open_steady(clip.path, reader=clip.reader),
        clip.frames,
        lambda images: transforms.resize_short_side(images, clip.short_side),
    )
    seconds = time.process_time() - start
    starts = np.unique(np.linspace(0, len(frames) - 1, PACKED_GROUPS).astype(int) // GROUP) * GROUP
    groups = [frames[start : start + GROUP] for start in starts]
    strips = [group[:, :, left : left + STRIP] for group in groups for left in range(0, frames.shape[2], STRIP)]
    packed = sum(len(encode_strip(strip, DEFAULT_QUALITY)) for strip in strips)
    return Cost(seconds, packed / sum(len(group) for group in groups))
