"""A video to detect in, as frames at a constant rate: a file with any timing, or an array.

A detector has learned how fast actions look at the frame rate of its training videos (`data.rate`). A file whose rate
is far from that rate, or varies, is resampled to a constant rate: each tick takes the frame that is nearest in time.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adatad_jax.config.fields import Config
from adatad_jax.data.annotations import Video
from adatad_jax.data.cache import Images
from adatad_jax.data.frames import Frames, FrameSource
from adatad_jax.errors import UserError
from adatad_jax.video.limits import within
from adatad_jax.video.scan import scan
from adatad_jax.video.transforms import Box, crop_resize, resize_short_side, short_side_shape

LIKE_RATE = 0.1  # rates whose ratio differs from 1 by at most this much count as equal
UNSTEADY = 0.5  # frames; largest deviation from the average rate at which a video counts as steady


@dataclass(frozen=True)
class Footage:
    """A video that a detector reads.

    Attributes:
      video: name, duration and number of frames at the constant rate; it has no annotations.
      frames: the frames at the constant rate.
      fps: frames per second of the source, on average.
    """

    video: Video
    frames: Frames
    fps: float


def open_footage(path: Path, config: Config, fps: float | None = None) -> Footage:
    """Opens a video file.

    Args:
      path: the file.
      config: of the detector.
      fps: frames per second, in place of what the file says.

    Raises:
      UserError: the file cannot be read, or opening it takes longer than `data.time_limit`; `fps` is not above 0.
    """
    rate = None if fps is None else check_fps(fps)
    index = within(config.data.time_limit, str(path), lambda: scan(path))
    # The video may be hours long, and no cache holds it.
    data = dataclasses.replace(config.data, in_memory=False, cache="")
    frames = FrameSource({path.stem: path}, data, data.test_short_side, onwards=True)
    return _steadied(path.stem, frames, index.clock(rate), rate or index.fps, config.data.rate)


def array_footage(frames: Images, fps: float, config: Config, name: str = "array") -> Footage:
    """Makes footage of frames in memory.

    Args:
      frames: `[T, H, W, 3]` uint8 RGB.
      fps: frames per second.
      config: of the detector.
      name: of the video.

    Raises:
      UserError: the array has another shape or dtype or no frame, or `fps` is not above 0.
    """
    if not isinstance(frames, np.ndarray) or frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
        found = f"{frames.dtype} {frames.shape}" if isinstance(frames, np.ndarray) else type(frames).__name__
        raise UserError(f"frames: found {found}, expected a path, or a numpy array [N, H, W, 3] of uint8, RGB")
    if not frames.size:
        raise UserError(f"frames: found an array of shape {frames.shape}, expected at least one frame")
    clock = np.arange(len(frames) + 1) / check_fps(fps)
    return _steadied(name, _ArrayFrames(frames, config.data.test_short_side), clock, fps, config.data.rate)


def steady_frames(times: NDArray[np.float64], fps: float, rate: float) -> NDArray[np.int64]:
    """Chooses the source frames that show a video at a constant rate.

    Args:
      times: `[N]` float64, seconds from the first frame to each frame.
      fps: frames per second of the source, on average.
      rate: the wanted frames per second. The source's own rate is kept if `rate` is 0 or within a tenth of `fps`.

    Returns:
      `[M]` int64 indices of source frames: for each of M ticks from the first frame to the end of the last, the frame
      that is nearest in time, the earlier one if two are equally near. A steady video that keeps its rate gives
      0, 1, ..., N - 1.
    """
    if not rate or abs(fps / rate - 1) <= LIKE_RATE:
        rate = fps
    count = len(times)
    if rate == fps and np.abs(times * fps - np.arange(count)).max() <= UNSTEADY:
        return np.arange(count)
    duration = times[-1] + 1 / fps
    wanted = max(1, round(duration * rate))
    ticks = np.arange(wanted) * (duration / wanted)
    after = np.clip(np.searchsorted(times, ticks), 1, count - 1) if count > 1 else np.zeros(len(ticks), np.int64)
    before = np.maximum(after - 1, 0)
    return np.where(ticks - times[before] <= times[after] - ticks, before, after)


def _steadied(name: str, frames: Frames, clock: NDArray[np.float64], fps: float, rate: float) -> Footage:
    indices = steady_frames(clock[:-1], fps, rate)
    return Footage(_video(name, float(clock[-1]), len(indices)), _SteadyFrames(frames, indices), fps)


def _video(name: str, duration: float, frames: int) -> Video:
    return Video(name, "", duration, frames, np.zeros((0, 2)), ())


def check_fps(fps: float) -> float:
    """Returns a frame rate, in frames per second; raises `UserError` unless it is finite and above 0."""
    if not 0 < fps < np.inf:
        raise UserError(f"fps={fps}: expected frames per second, a finite number above 0")
    return float(fps)


class _SteadyFrames:
    """`Frames` of a video in the order of `indices`, which may repeat or skip frames."""

    def __init__(self, frames: Frames, indices: NDArray[np.int64]) -> None:
        self._frames = frames
        self._indices = indices

    def count(self, video: str) -> int:
        return len(self._indices)

    def size(self, video: str) -> tuple[int, int]:
        return self._frames.size(video)

    def read(self, video: str, indices: np.ndarray, box: Box, size: int) -> Images:
        return self._frames.read(video, self._indices[indices], box, size)

    def finish(self, video: str) -> None:
        self._frames.finish(video)


class _ArrayFrames:
    """`Frames` of one video in memory."""

    def __init__(self, frames: Images, short_side: int) -> None:
        self._frames = frames
        self._short_side = short_side

    def count(self, video: str) -> int:
        return len(self._frames)

    def size(self, video: str) -> tuple[int, int]:
        height, width = self._frames.shape[1:3]
        return short_side_shape(height, width, self._short_side)

    def read(self, video: str, indices: np.ndarray, box: Box, size: int) -> Images:
        return crop_resize(resize_short_side(self._frames[indices], self._short_side), box, size)

    def finish(self, video: str) -> None:
        pass
