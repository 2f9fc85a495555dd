"""Video files whose pixels tell their place: red is the number of the frame, green 5 times the column, blue 7 times the
row. At a short side of 32 pixels they are read as they are."""

from pathlib import Path

import numpy as np

from adatad_jax.data.clip_videos import ClipVideo
from adatad_jax.video.probe import probe
from tests.tiny_detector import write_video

HEIGHT, WIDTH = 32, 48


def numbered(frames: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    pixels = np.empty((frames, height, width, 3), np.uint8)
    pixels[..., 0] = np.arange(frames)[:, None, None]
    pixels[..., 1] = 5 * np.arange(width)
    pixels[..., 2] = 7 * np.arange(height)[:, None]
    return pixels


def write_numbered(path: Path, frames: int, height: int = HEIGHT, width: int = WIDTH) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, numbered(frames, height, width), np.arange(frames) / 30)
    return path


def clip_video(path: Path, frames: int, label: int = -1, height: int = HEIGHT, width: int = WIDTH) -> ClipVideo:
    """Writes a numbered video, and opens it."""
    return ClipVideo(path, probe(write_numbered(path, frames, height, width)), label)
