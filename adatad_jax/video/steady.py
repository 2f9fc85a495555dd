"""Videos at a constant frame rate, whatever their timing.

Windows, grids and detectors count frames, so that a frame must stand for a time. A file of variable rate is therefore
read at its average rate: each tick takes the frame that a player shows then. A file of constant rate is read as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adatad_jax.errors import UserError
from adatad_jax.video.decode import Filling, Images, VideoReader
from adatad_jax.video.readers import PYAV, open_with
from adatad_jax.video.scan import scan

LIKE_RATE = 0.1  # rates whose ratio differs from 1 by at most this much count as equal
SLOWEST, FASTEST = 1e-4, 1e5  # frames per second, from a frame in hours to the fastest cameras
UNSTEADY = 0.5  # frames; largest deviation from the average rate at which a video counts as steady


def check_fps(fps: float) -> float:
    """Returns a frame rate, in frames per second; raises `UserError` unless it is above 0 and one that videos have."""
    if not SLOWEST <= fps <= FASTEST:
        raise UserError(f"fps={fps}: expected frames per second, a number above 0, from {SLOWEST:g} to {FASTEST:g}")
    return float(fps)


def steady_frames(clock: NDArray[np.float64], fps: float, rate: float = 0.0) -> NDArray[np.int64]:
    """Chooses the source frames that show a video at a constant rate.

    Args:
      clock: `[N + 1]` float64, seconds from the first frame to each frame, and to the end of the last one.
      fps: frames per second of the source, on average.
      rate: the wanted frames per second. The source's own rate is kept if `rate` is 0 or within a tenth of `fps`.

    Returns:
      `[M]` int64 indices of source frames: for each of M ticks from the first frame to the end of the last, the frame
      that is nearest in time, except that one which stands still does so until half a frame before the next. A steady
      video that keeps its rate gives 0, 1, ..., N - 1.
    """
    if not rate or abs(fps / rate - 1) <= LIKE_RATE:
        rate = fps
    times, duration = clock[:-1], clock[-1]
    count = len(times)
    if rate == fps and np.abs(times * fps - np.arange(count)).max() <= UNSTEADY:
        return np.arange(count)
    wanted = max(1, round(duration * rate))
    ticks = np.arange(wanted) * (duration / wanted)
    # A frame stands in before its time, from the middle to the one before on, but not during a still stretch.
    early = np.minimum(np.diff(times, prepend=-np.inf), 1 / fps) / 2
    shown: NDArray[np.int64] = np.searchsorted(times - early, ticks, side="right") - 1
    return shown


class SteadyFrames(NamedTuple):
    """How a video is read at a constant rate.

    Attributes:
      indices: `[M]` int64 indices of the source frames, as `steady_frames` returns them.
      duration: of the video, in seconds.
      source_fps: frames per second of the source, on average.
    """

    indices: NDArray[np.int64]
    duration: float
    source_fps: float

    @property
    def as_it_is(self) -> bool:
        """Tells whether the video shows each source frame once."""
        return np.array_equal(self.indices, np.arange(len(self.indices)))

    @property
    def fps(self) -> float:
        """Returns the frames per second at the constant rate."""
        return self.source_fps if self.as_it_is else len(self.indices) / self.duration


def steady_layout(path: Path, fps: float | None = None, rate: float = 0.0) -> SteadyFrames:
    """Lays a video out at a constant rate; only packets are read.

    Args:
      path: the file.
      fps: frames per second in place of the file's own times; None keeps these.
      rate: the wanted frames per second; see `steady_frames`.

    Raises:
      UserError: as `scan`; or `fps` is None and the file's own clock cannot be used.
    """
    index = scan(path)
    clock = index.clock(fps)
    source = fps or index.fps
    return SteadyFrames(steady_frames(clock, source, rate), float(clock[-1]), source)


def open_steady(
    path: Path, fps: float | None = None, rate: float = 0.0, filling: Filling | None = None, reader: str = PYAV
) -> SteadyReader:
    """Opens a video at a constant rate.

    Args:
      path, fps, rate: as for `steady_layout`.
      filling, reader: as for `open_with`.

    Raises:
      UserError: as `steady_layout` and `open_with`.
    """
    layout = steady_layout(path, fps, rate)
    return SteadyReader(open_with(reader, path, filling), layout)


class SteadyReader:
    """A `VideoReader` of a video at a constant rate."""

    def __init__(self, reader: VideoReader, layout: SteadyFrames) -> None:
        """Wraps a reader of the file's own frames."""
        self._reader = reader
        self._indices = layout.indices
        self.frame_count = len(layout.indices)
        self.fps = layout.fps
        self.size = reader.size
        self.notes = reader.notes

    def read(self, indices: ArrayLike) -> Images:
        """Returns the frames at the given indices of the constant rate; see `VideoReader.read`."""
        wanted = np.asarray(indices, np.int64)
        beyond = np.maximum(wanted - (self.frame_count - 1), 0)
        return self._reader.read(self._indices[wanted - beyond] + beyond)
