"""A video to detect in, as frames at a constant rate: a file with any timing, or an array.

A detector has learned how fast actions look at the frame rate of its training videos (`data.rate`). A file whose rate
is far from that rate is read at that rate: each tick takes the frame that is nearest in time.
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
from adatad_jax.data.sampling import make_sampling
from adatad_jax.errors import UserError
from adatad_jax.video.decode import Filling, VideoReader
from adatad_jax.video.scan import scan
from adatad_jax.video.steady import check_fps, open_steady, steady_frames, steady_layout
from adatad_jax.video.transforms import Box, crop_resize, resize_short_side, short_side_shape


@dataclass(frozen=True)
class Footage:
    """A video that a detector reads.

    Attributes:
      video: name, duration and number of frames at the constant rate; it has no annotations.
      frames: the frames at the constant rate.
      fps: frames per second of the source, on average.
      notes: what was repaired, assumed or chosen in reading the file, in words.
    """

    video: Video
    frames: Frames
    fps: float
    notes: tuple[str, ...] = ()


def open_footage(path: Path, config: Config, fps: float | None = None, filling: Filling | None = None) -> Footage:
    """Opens a video file.

    Args:
      path: the file.
      config: of the detector.
      fps: frames per second, in place of what the file says.
      filling: as for `open_video`.

    Raises:
      UserError: the file cannot be read, or opening it takes longer than `data.time_limit`; or `fps` is not above 0.
    """
    given = None if fps is None else check_fps(fps)
    rate = config.data.rate

    def open_file(path: Path) -> VideoReader:
        return open_steady(path, given, rate, filling)

    # The video may be hours long, and no cache holds it. One that cannot be read keeps nobody waiting.
    data = dataclasses.replace(config.data, in_memory=False, cache="", retries=0)
    kept = make_sampling(data)
    frames = FrameSource({path.stem: path}, data, kept, data.test_short_side, onwards=True, open_file=open_file)
    notes = frames.look(path.stem).notes
    layout = steady_layout(path, given, rate)
    return Footage(_video(path.stem, layout.duration, len(layout.indices)), frames, layout.source_fps, notes)


def damaged_stretches(path: Path, filling: Filling, fps: float | None = None) -> list[tuple[float, float]]:
    """Returns the stretches of a video that were filled, as seconds from the first frame, in order.

    Args:
      path: the file.
      filling: what its readers have filled.
      fps: as for `open_footage`.
    """
    index = scan(path)
    clock = index.clock(fps)
    filled = np.zeros(index.count + 2, bool)
    filled[[frame + 1 for frame in filling.frames]] = True
    for still in index.lost:
        filled[still.frame + 1] = True
    borders = np.flatnonzero(filled[1:] != filled[:-1])
    return [(float(clock[start]), float(clock[end])) for start, end in borders.reshape(-1, 2).tolist()]


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
    indices = steady_frames(clock, fps, config.data.rate)
    held = _ArrayFrames(frames, indices, config.data.test_short_side)
    return Footage(_video(name, float(clock[-1]), len(indices)), held, fps)


def _video(name: str, duration: float, frames: int) -> Video:
    return Video(name, "", duration, frames, np.zeros((0, 2)), ())


class _ArrayFrames:
    """`Frames` of one video in memory, in the order of `indices`, which may repeat or skip frames."""

    def __init__(self, frames: Images, indices: NDArray[np.int64], short_side: int) -> None:
        self._frames = frames
        self._indices = indices
        self._short_side = short_side

    def count(self, video: str) -> int:
        return len(self._indices)

    def size(self, video: str) -> tuple[int, int]:
        height, width = self._frames.shape[1:3]
        return short_side_shape(height, width, self._short_side)

    def read(self, video: str, indices: np.ndarray, box: Box, size: int) -> Images:
        frames = self._frames[self._indices[indices]]
        return crop_resize(resize_short_side(frames, self._short_side), box, size)

    def finish(self, video: str) -> None:
        pass
