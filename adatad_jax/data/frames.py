"""Sources of a window's frames: video files, decoded frames in memory, or a cache that `prepare` has written."""

import collections
import itertools
import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Protocol, TypeVar

import numpy as np

from adatad_jax.config.run_fields import ReadingConfig
from adatad_jax.data.cache import Images, open_cache
from adatad_jax.data.sampling import KeptFrames
from adatad_jax.errors import UserError
from adatad_jax.video.decode import VideoReader, frames_at
from adatad_jax.video.limits import pause, within
from adatad_jax.video.probe import Probe
from adatad_jax.video.steady import open_steady
from adatad_jax.video.transforms import Box, crop_resize, resize_short_side, short_side_shape

Result = TypeVar("Result")
_logger = logging.getLogger(__name__)


class Frames(Protocol):
    """The frames of some videos, scaled to one length of the short side. Threads may share an instance."""

    def count(self, video: str) -> int:
        """Returns the number of frames of a video."""
        ...

    def size(self, video: str) -> tuple[int, int]:
        """Returns height and width of a video's scaled frames, in pixels."""
        ...

    def read(self, video: str, indices: np.ndarray, box: Box, size: int) -> Images:
        """Reads a box of some frames.

        Args:
          video: name of the video.
          indices: `[n]` int, indices of the frames.
          box: top, left, height and width in the scaled frames, in pixels.
          size: side to which the box is resized, in pixels.

        Returns:
          `[n, size, size, 3]` uint8 RGB.

        Raises:
          UserError: a frame cannot be decoded, or reading takes longer than `data.time_limit`.
        """
        ...

    def finish(self, video: str) -> None:
        """Releases what was kept to continue reading a video."""
        ...


class FrameSource:
    """`Frames` of video files.

    With `data.in_memory`, every frame that can be loaded is decoded once and kept. With `data.cache`, frames come
    from the cache, and the video files need not exist.

    Attributes:
      repeats: name -> how many times a read of a video has been repeated.
    """

    def __init__(
        self,
        files: Mapping[str, Path | None],
        data: ReadingConfig,
        kept: KeptFrames,
        short_side: int,
        probes: Mapping[str, Probe] | None = None,
        onwards: bool = False,
        open_file: Callable[[Path], VideoReader] | None = None,
    ) -> None:
        """Opens the cache if there is one; video files are opened later.

        Args:
          files: name -> video file, or None where a cache stands in for a missing file.
          data: cache, memory, retries, time limit and reader.
          kept: which frames of the videos can be loaded.
          short_side: of the scaled frames, in pixels.
          probes: name -> what is known of a container. Other videos are opened to find out.
          onwards: whether each video is read from its start to its end. Readers are then kept until `finish`, because
            a new reader of a file without an index would decode from the start again.
          open_file: opens a video file at a constant rate.

        Raises:
          UserError: the cache does not hold the videos as the configuration needs them.
        """
        self._files = files
        self._short_side = short_side
        self._cache = open_cache(Path(data.cache), kept, short_side, files) if data.cache else None
        self._limit = data.time_limit
        self._retries = data.retries
        self._given_up: set[str] = set()
        self.repeats: collections.Counter[str] = collections.Counter()
        self._in_memory = data.in_memory
        self._loadable = kept.loadable
        self._kept: dict[str, tuple[np.ndarray, Images]] = {}  # source indices, ascending, and their frames
        self._locks = {name: Lock() for name in files}
        self._probes = {name: one for name, one in (probes or {}).items() if one.size is not None}
        self._onwards = onwards
        self._open = open_file or partial(open_steady, reader=data.reader)
        self._idle: dict[str, list[VideoReader]] = {}

    def count(self, video: str) -> int:
        """Returns the number of frames of a video, from the cache or else from the container."""
        return self._cache.count(video) if self._cache is not None else self.look(video).frames

    def file(self, video: str) -> Path | None:
        """Returns the file of a video; None where a cache stands in for it."""
        return self._files[video]

    def size(self, video: str) -> tuple[int, int]:
        """Returns height and width of a video's scaled frames, in pixels."""
        if self._cache is not None:
            return self._cache.size(video)
        size = self.look(video).size
        assert size is not None
        return short_side_shape(*size, self._short_side)

    def read(self, video: str, indices: np.ndarray, box: Box, size: int) -> Images:
        """Reads a box of some frames; see `Frames.read`."""
        if self._in_memory:
            return crop_resize(self._remembered(video, indices), box, size)
        return self._decoded(video, indices, box, lambda part: crop_resize(part, (0, 0, *box[2:]), size))

    def read_whole(self, video: str, indices: np.ndarray) -> Images:
        """Reads some frames whole, `[n, h, w, 3]` uint8 RGB of the height and width `size`; otherwise as `read`."""
        if self._in_memory:
            return self._remembered(video, indices)
        return self._decoded(video, indices, (0, 0, *self.size(video)), lambda part: part)

    def _remembered(self, video: str, indices: np.ndarray) -> Images:
        """Returns frames from memory; decodes all that can be loaded when they are first asked for."""
        with self._locks[video]:
            if video not in self._kept:
                loadable = self._loadable(self.count(video))
                whole = (0, 0, *self.size(video))
                self._kept[video] = loadable, self._decoded(video, loadable, whole, lambda part: part)
        kept, frames = self._kept[video]
        return frames[np.searchsorted(kept, indices)]

    def look(self, video: str) -> Probe:
        """Returns what is known of a video file; opens it if nothing is. Raises `UserError` if it cannot be read."""
        if video not in self._probes:
            path = self._path(video)
            reader = self._persistently(video, lambda: within(self._limit, str(path), lambda: self._open(path)))
            self._probes[video] = Probe(reader.frame_count, reader.fps, reader.size, reader.notes)
            if self._onwards:
                self._idle.setdefault(video, []).append(reader)
        return self._probes[video]

    def finish(self, video: str) -> None:
        """Closes the readers that were kept for a video."""
        self._idle.pop(video, None)

    def _persistently(self, video: str, read: Callable[[], Result]) -> Result:
        """Reads, up to `data.retries` times more if that fails: network file systems fail for a moment.

        A video that failed all these times is then read once at a time, until it can be read again.
        """
        retries = 0 if video in self._given_up else self._retries
        for attempt in itertools.count():
            try:
                result = read()
            except (UserError, OSError) as error:
                if attempt == retries or not pause(2.0**attempt):
                    self._given_up.add(video)
                    if not attempt:
                        raise
                    raise UserError(f"{error} (read {attempt + 1} times)") from error
                if not self.repeats[video]:
                    _logger.warning("%s; it is read again, up to %d times", error, retries)
                self.repeats[video] += 1
            else:
                self._given_up.discard(video)
                return result
        raise AssertionError

    def _decoded(self, video: str, indices: np.ndarray, box: Box, transform: Callable[[Images], Images]) -> Images:
        """Reads a box of some frames of the file or the cache, each transformed by itself."""
        return self._persistently(video, lambda: self._read(video, indices, box, transform))

    def _read(self, video: str, indices: np.ndarray, box: Box, transform: Callable[[Images], Images]) -> Images:
        if self._cache is not None:
            return self._cache.read(video, indices, box, transform)
        top, left, height, width = box

        def scale(frames: Images) -> Images:
            scaled = resize_short_side(frames, self._short_side)
            return transform(scaled[:, top : top + height, left : left + width])

        path = self._path(video)

        def decode() -> Images:
            idle = self._idle.setdefault(video, [])
            try:
                reader = idle.pop()
            except IndexError:
                reader = self._open(path)
            frames = frames_at(reader, indices, scale)
            if self._onwards:
                idle.append(reader)
            return frames

        return within(self._limit, str(path), decode)

    def _path(self, video: str) -> Path:
        path = self._files[video]
        assert path is not None, f"{video}: no file and no cache"
        return path
