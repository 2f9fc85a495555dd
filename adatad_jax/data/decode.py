"""Video files to frames: the exact frames at given indices, in RGB, upright, at full size.

decord reads where its random access is right. It is silently off by some frames, without an error, in files with
open groups of pictures (frames shown before the key frame that precedes them in the file, the default of x265 and of
old MPEG-4 encoders) and in AVI, MPEG-TS, MPEG-PS and ASF. Those, and what decord cannot open, are read by PyAV.
"""

from __future__ import annotations

import bisect
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import ArrayLike, NDArray

from adatad_jax.errors import UserError

try:
    import decord

    decord.logging.set_level(decord.logging.QUIET)
except ImportError:  # no wheel for this platform
    decord = None

Images = NDArray[np.uint8]

# Containers may declare a few frames that do not decode: an index there gives the last frame that does.
MISSING_FRAMES_ALLOWED = 5


class VideoReader(Protocol):
    """An opened video. A reader belongs to one thread.

    Attributes:
      frame_count: frames in the container.
      fps: average frames a second.
      size: height and width of an upright frame in pixels.
    """

    frame_count: int
    fps: float
    size: tuple[int, int]

    def read(self, indices: ArrayLike) -> Images:
        """The frames at `indices` [n], any order, repeats decoded once: [n, H, W, 3] uint8 RGB.

        An index up to 5 frames beyond the last frame that decodes gives that last frame.

        Raises:
          UserError: a frame cannot be decoded, or lies further beyond the end.
        """
        ...


def open_video(path: str | Path) -> VideoReader:
    """Open a video file.

    Raises:
      UserError: no such file, an empty one, not a video, no video stream or no frames in it, or cut short.
    """
    path = Path(path)
    index = _scan(path)
    if decord is not None and index.decord_is_exact:
        try:
            return _DecordReader(path, index)
        except (decord.DECORDError, RuntimeError):
            pass
    return _AvReader(path, index)


def frames_at(
    reader: VideoReader, indices: ArrayLike, transform: Callable[[Images], Images], batch: int = 32
) -> Images:
    """Decode, transform and gather frames with at most `batch` full-size frames in memory.

    Args:
      reader: the opened video.
      indices: [n] frame indices; repeats are decoded and transformed once.
      transform: maps frames [b, H, W, 3] to [b, h, w, 3], each frame by itself.
      batch: frames decoded at a time.

    Returns:
      [n, h, w, 3], as `transform` gives them.

    Raises:
      UserError: as `VideoReader.read`.
    """
    wanted, place = np.unique(np.asarray(indices), return_inverse=True)
    if not len(wanted):
        raise ValueError("no frame index given")
    out: Images | None = None
    for start in range(0, len(wanted), batch):
        part = transform(reader.read(wanted[start : start + batch]))
        if out is None:
            out = np.empty((len(place), *part.shape[1:]), part.dtype)
        rows = np.flatnonzero((place >= start) & (place < start + len(part)))
        out[rows] = part[place[rows] - start]
    assert out is not None
    return out


@dataclass(frozen=True)
class _Index:
    """What the packets of a file say about its frames, found without decoding.

    Attributes:
      count: number of frames.
      fps: average frames a second.
      stamps: [count] presentation timestamps, ascending, or None if they do not tell frames apart.
      keys: frame indices of the key frames, ascending; empty if `stamps` is None.
      decord_is_exact: see the module's docstring.
    """

    count: int
    fps: float
    stamps: list[int] | None
    keys: list[int]
    decord_is_exact: bool


def _scan(path: Path) -> _Index:
    try:
        status = path.stat()
    except FileNotFoundError:
        raise UserError(f"{path}: no such video file; check the path") from None
    except OSError as error:
        raise UserError(f"{path}: the video file cannot be reached ({error.strerror})") from None
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path}: not a file; expected a video file")
    if status.st_size == 0:
        raise UserError(f"{path}: the video file is empty (0 bytes); copy or download it again")
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            stream = _video_stream(container, path)
            packets = [
                (packet.pts, packet.is_keyframe)
                for packet in container.demux(stream)
                if packet.size and not packet.is_discard
            ]
            count, declared = len(packets), stream.frames
            rate = stream.average_rate or stream.guessed_rate
            tick = float(stream.time_base or 0)
            name = container.format.name
            reordered = bool(stream.codec_context.has_b_frames)
    except av.error.FFmpegError as error:
        raise UserError(f"{path}: not a video, or damaged ({error.strerror}); copy or convert it again") from None
    if not count:
        raise UserError(f"{path}: the video stream has no frames; copy or convert the file again")
    if declared - count > MISSING_FRAMES_ALLOWED:
        raise UserError(
            f"{path}: declares {declared} frames but holds only {count}: cut short; copy or download it again"
        )
    if not rate:
        raise UserError(f"{path}: the video stream has no frame rate; convert the file (constant rate) to mp4")

    stamps = [pts for pts, _ in packets]
    key_stamps = {pts for pts, is_key in packets if is_key}
    # AVI stores no presentation times: with B-frames the ones made up for it are wrong
    if None in stamps or len(set(stamps)) < count or (name == "avi" and reordered):
        return _Index(count, float(rate), None, [], decord_is_exact=False)
    open_groups, key = False, stamps[0]
    for pts, is_key in packets:
        key = pts if is_key else key
        open_groups = open_groups or pts < key
    stamps = sorted(stamps)
    # At a variable rate the header's figure can be far from the average; within 1% it is the more exact one.
    span = (stamps[-1] - stamps[0]) * tick
    if span and abs((count - 1) / span / rate - 1) > 0.01:
        rate = (count - 1) / span
    keys = [place for place, pts in enumerate(stamps) if pts in key_stamps]
    seeks_exactly = name.startswith(("mov,", "matroska"))
    return _Index(count, float(rate), stamps, keys, decord_is_exact=seeks_exactly and not open_groups)


def _video_stream(container: Any, path: Path) -> Any:
    name = container.format.name
    if name == "tty" or name == "image2" or name.endswith("_pipe"):  # FFmpeg opens texts and pictures, too
        raise UserError(f'{path}: not a video (its content is of the kind "{name}"); expected a video file')
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:  # the cover picture of an audio file
            if stream.codec_context is None:
                raise UserError(f"{path}: FFmpeg has no decoder for its video; convert the file to H.264 in mp4")
            stream.codec_context.thread_count = 1
            return stream
    kinds = sorted({stream.type for stream in container.streams})
    raise UserError(f"{path}: no video stream (only: {', '.join(kinds) or 'nothing'}); expected a video file")


class _AvReader:
    """Decodes forward from the nearest key frame, telling frames by timestamp, or from the start by counting."""

    def __init__(self, path: Path, index: _Index) -> None:
        self.frame_count = index.count
        self.fps = index.fps
        self._path = path
        self._index = index
        self._places = None if index.stamps is None else {pts: place for place, pts in enumerate(index.stamps)}
        try:
            self._restart()
            decodes = self._advance(0)
        except av.error.FFmpegError:
            decodes = False
        if not decodes:
            raise UserError(f"{path}: its first frame cannot be decoded; copy or convert the file again")
        self._turns = round(self._frame.rotation / 90) % 4
        self._shape = (self._frame.height, self._frame.width)
        self.size = self._shape[::-1] if self._turns % 2 else self._shape

    def read(self, indices: ArrayLike) -> Images:
        wanted, place = np.unique(_checked(indices), return_inverse=True)
        frames = np.empty((len(wanted), *self.size, 3), np.uint8)
        try:
            for row, index in enumerate(wanted.tolist()):
                self._go_to(index)
                height, width = self._shape
                frames[row] = np.rot90(self._frame.to_ndarray(width=width, height=height, format="rgb24"), self._turns)
        except av.error.FFmpegError as error:
            raise UserError(f"{self._path}: decoding fails ({error.strerror}); convert the file again") from None
        return frames[place]

    def _restart(self) -> None:
        """Back to before the first frame. Opened anew, as a seek to 0 is not exact in every container."""
        self._container = av.open(str(self._path), metadata_errors="ignore")
        self._stream = _video_stream(self._container, self._path)
        self._decoded = self._decode()
        self._place = -1  # index of the frame decoded last, which is self._frame
        self._frame: Any = None
        self._ended = False

    def _decode(self) -> Iterator[Any]:
        for packet in self._container.demux(self._stream):
            try:
                yield from packet.decode()
            except av.error.InvalidDataError:
                # a lost frame would shift all later ones, unless timestamps tell them apart
                if self._places is None:
                    return

    def _advance(self, index: int) -> bool:
        """Decode up to frame `index`; false if the video ends before it or it is not among the decoded frames."""
        for frame in self._decoded:
            place = self._place + 1 if self._places is None else self._places.get(frame.pts)
            if place is None:
                continue
            self._frame, self._place = frame, place
            if place >= index:
                return place == index
        self._ended = True
        return False

    def _go_to(self, index: int) -> None:
        keys = self._index.keys
        key = keys[max(0, bisect.bisect_right(keys, index) - 1)] if keys else 0
        if not (key - 1 <= self._place <= index and self._frame is not None) and not self._seek(key):
            self._restart()
        if self._place == index or self._advance(index):
            return
        if not self._ended:
            raise UserError(f"{self._path}: frame {index} cannot be decoded: damaged; copy or convert the file again")
        if self._frame is None or index - self._place > MISSING_FRAMES_ALLOWED:
            raise UserError(
                f"{self._path}: frame {index} is wanted, but the video ends with frame {self._place} (its container "
                f"announces {self.frame_count} frames); it is cut short, or not the video that the annotations describe"
            )

    def _seek(self, key: int) -> bool:
        """To key frame `key`; false if seeking does not lead to it, as in containers without an index."""
        if self._index.stamps is None or key == 0:
            return False
        self._container.seek(self._index.stamps[key], stream=self._stream)
        self._decoded = self._decode()
        self._place = -1
        self._ended = False
        return self._advance(key)


class _DecordReader:
    """decord, where its random access is exact; what it fails to decode is left to PyAV."""

    def __init__(self, path: Path, index: _Index) -> None:
        self._path = path
        self._index = index
        self._video = decord.VideoReader(str(path), num_threads=1)
        if len(self._video) != index.count:
            raise RuntimeError("decord and PyAV count different frames")
        self._fallback: _AvReader | None = None
        self.frame_count = index.count
        self.fps = index.fps
        height, width, _ = self._video[0].shape
        self.size = (height, width)

    def read(self, indices: ArrayLike) -> Images:
        wanted, place = np.unique(_checked(indices), return_inverse=True)
        if self._fallback is None and wanted[-1] < self.frame_count:
            try:
                frames = self._video.get_batch(wanted).asnumpy()
                return frames if len(place) == len(wanted) and (np.diff(place) > 0).all() else frames[place]
            except (decord.DECORDError, RuntimeError):
                pass
        self._fallback = self._fallback or _AvReader(self._path, self._index)
        return self._fallback.read(indices)


def _checked(indices: ArrayLike) -> NDArray[np.int64]:
    checked = np.asarray(indices, np.int64)
    if checked.ndim != 1 or not len(checked) or checked.min() < 0:
        raise ValueError(f"expected one or more frame indices of at least 0, got {indices!r}")
    return checked
