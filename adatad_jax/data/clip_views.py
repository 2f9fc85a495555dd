"""The views of a video that a classifier sees: clips spread over its length, and crops of each along its long side.

As in VideoMAE's test, frames are scaled such that their short side is that of the crop.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adatad_jax.config.clip_fields import ClipsConfig
from adatad_jax.data.cache import Images
from adatad_jax.data.clip_sampling import clip_span, fitting_stride, spread, spread_clips
from adatad_jax.data.clip_videos import ClipVideo, too_short
from adatad_jax.data.clips import frame_source, warn_of_short
from adatad_jax.data.frames import FrameSource
from adatad_jax.data.loader import load_ahead
from adatad_jax.data.sampling import EveryFrame
from adatad_jax.errors import UserError
from adatad_jax.models.sizes import CHUNK_FRAMES
from adatad_jax.video.decode import VideoReader
from adatad_jax.video.steady import check_fps, open_steady


class ClipViews:
    """The views of some videos, read whole.

    Attributes:
      names: of the videos, in order.
      videos: name -> video.
    """

    def __init__(self, videos: Mapping[str, ClipVideo], data: ClipsConfig, clips: int = 1, crops: int = 1) -> None:
        """Prepares to read. A warning tells how many videos are too short for `data.stride`.

        Args:
          videos: to classify.
          data: of the configuration.
          clips: of a video.
          crops: of a clip.

        Raises:
          UserError: `data.cache` does not hold the videos with a short side of `data.crop` pixels.
        """
        self.names = list(videos)
        self.videos = dict(videos)
        self._data = data
        self._clips, self._crops = clips, crops
        self._frames = frame_source(videos, data, data.crop)
        warn_of_short(videos, data.stride)

    def load(self, name: str) -> Images:
        """Reads the views of a video.

        Args:
          name: of the video.

        Returns:
          `[clips * crops, 16, crop, crop, 3]` uint8 RGB: all crops of the first clip come first.

        Raises:
          UserError: the video cannot be read.
        """
        return _read(self._frames, name, self._data, self._clips, self._crops)

    def stream(self, names: Sequence[str] | None = None) -> Iterator[tuple[str, Images | Exception]]:
        """Starts to read in `data.threads` threads, and returns an iterator of names with their views, in order.

        Args:
          names: of the videos that are wanted; None: of all.

        Returns:
          Each name with the views of its video, as `load` returns them, or the exception that reading them raised.
        """
        threads = self._data.threads
        return load_ahead(self.names if names is None else names, self.load, threads, ahead=threads + 1)


class FileViews(NamedTuple):
    """The views of a video file.

    Attributes:
      frames: `[clips * crops, 16, crop, crop, 3]` uint8 RGB, as `ClipViews.load` returns them.
      notes: what was repaired, assumed or chosen in reading the file, in words.
    """

    frames: Images
    notes: tuple[str, ...]


def file_views(path: Path, data: ClipsConfig, clips: int, crops: int, fps: float | None = None) -> FileViews:
    """Reads the views of a video file of any timing.

    Args:
      path: the file.
      data: of the configuration: stride, crop, time limit and reader.
      clips: of the video.
      crops: of a clip.
      fps: frames per second, in place of what the file says.

    Raises:
      UserError: the file cannot be read, or has fewer than 16 frames; or `fps` is not above 0.
    """
    given = None if fps is None else check_fps(fps)

    def open_file(path: Path) -> VideoReader:
        return open_steady(path, given, reader=data.reader)

    # No cache holds it. One that cannot be read keeps nobody waiting.
    alone = dataclasses.replace(data, in_memory=False, cache="", retries=0)
    frames = FrameSource({path.stem: path}, alone, EveryFrame(), data.crop, open_file=open_file)
    found = frames.look(path.stem)
    if problem := too_short(path, found.frames):
        raise UserError(problem)
    notes = list(found.notes)
    if (stride := fitting_stride(found.frames, data.stride)) < data.stride:
        notes.append(
            f"{found.frames} frames, fewer than the {clip_span(data.stride)} of a clip of {CHUNK_FRAMES} at stride "
            f"{data.stride}: read at stride {stride}"
        )
    return FileViews(_read(frames, path.stem, data, clips, crops), tuple(notes))


def _read(frames: FrameSource, name: str, data: ClipsConfig, clips: int, crops: int) -> Images:
    """Reads the views of a video, each frame once; see `ClipViews.load`."""
    indices = spread_clips(frames.count(name), data.stride, clips)
    whole = frames.read_whole(name, indices.ravel())
    whole = whole.reshape(clips, CHUNK_FRAMES, *whole.shape[1:])
    return np.concatenate([_crops(clip, data.crop, crops) for clip in whole])


def _crops(clip: Images, size: int, count: int) -> Images:
    """Cuts squares of a clip's short side, spread along its long side: `[count, 16, size, size, 3]`."""
    height, width = clip.shape[1:3]
    corners = zip(spread(height - size, count), spread(width - size, count), strict=True)
    return np.stack([clip[:, top : top + size, left : left + size] for top, left in corners])
