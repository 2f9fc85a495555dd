"""Decoding of video files by PyAV: the exact frames at given indices, in RGB, upright, at full size.

PyAV reads every file. Decoding runs forward from the nearest key frame. The decoder is told the number of each packet
in place of its time stamp, and returns it with the picture: so wrong time stamps never put a picture in a wrong place.

decord, the usual choice in the field, is no default. It silently returns the pictures that FFmpeg makes up for damaged
data. Its random access is silently off by some frames in files with open groups of pictures and in AVI, MPEG-TS,
MPEG-PS and ASF. Per core it is slower. Tests compare with it; `decord_reader` reads with it what it reads rightly.

Damage: a frame that FFmpeg loses or reports as damaged is refused, and so is every frame that may be predicted from
it (up to the next key frame), unless a `Filling` allows the frame before to stand for it. Damage that FFmpeg does not
report cannot be told from a sound picture: FFmpeg notices most damage in H.264 and MPEG-4, but next to none in HEVC and
VP9. Only checksums reveal the rest.

A file may begin between two key frames, as a recording of a running stream does. The first frame that decodes stands
for those before it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter
from numpy.typing import ArrayLike, NDArray

from adatad_jax.errors import UserError
from adatad_jax.video.packets import open_container
from adatad_jax.video.scan import MISSING_FRAMES_ALLOWED, PacketIndex, scan

Images = NDArray[np.uint8]

_logger = logging.getLogger(__name__)
_told: set[Path] = set()  # files whose order of pictures a warning was about


class VideoReader(Protocol):
    """An opened video. Only one thread at a time may use a reader.

    Attributes:
      frame_count: number of frames in the container.
      fps: average frame rate, in frames per second.
      size: height and width of an upright frame, in pixels.
      notes: what was repaired, assumed or chosen in reading the file, in words.
    """

    frame_count: int
    fps: float
    size: tuple[int, int]
    notes: tuple[str, ...]

    def read(self, indices: ArrayLike) -> Images:
        """Returns the frames at the given indices.

        A container may declare a few frames at its end that do not decode. The last frame that decodes stands for
        these, and for frames asked for beyond the end, as long as they lie at most 5 frames after it.

        Args:
          indices: [N] frame indices, in any order; a repeated index is decoded once.

        Returns:
          [N, H, W, 3] uint8 RGB.

        Raises:
          UserError: a frame cannot be decoded, is damaged, or lies further beyond the end.
          ValueError: there is no index, or a negative one.
        """
        ...


@dataclass
class Filling:
    """Permission to fill damaged frames with the last sound frame before them. The readers of a file share it.

    Attributes:
      share: the largest share of the frames of a file to fill.
      frames: indices of the frames filled so far.
      lost: number of frames that the file lacks, as far as its times show.
    """

    share: float
    frames: set[int] = field(default_factory=set)
    lost: int = 0
    _lock: Lock = field(default_factory=Lock)

    def add(self, path: Path, damaged: range, count: int) -> None:
        """Notes that some frames of `count` are filled; raises `UserError` if that makes more than allowed."""
        with self._lock:
            self.frames.update(damaged)
            if len(self.frames) + self.lost > self.share * (count + self.lost):
                raise UserError(
                    f"{path}: more than {100 * self.share:g}% of its {count + self.lost} frames are damaged, such as "
                    f"frame {damaged.start}: allow more with --skip-damaged, or copy the file again"
                )


def open_video(path: str | Path, filling: Filling | None = None) -> VideoReader:
    """Opens a video file.

    Args:
      path: the file.
      filling: allows damaged frames to be filled; None refuses them.

    Raises:
      UserError: the file is missing, empty, not a video, without a video stream or frames, or cut short (see `scan`);
        packets in it are lost and may not be filled; or its first frame cannot be decoded.
    """
    path = Path(path)
    index = scan(path)
    if index.lost and filling is None:
        longest = max(index.lost, key=lambda still: still.seconds)
        raise UserError(
            f"{path}: no frame for {longest.seconds:.2f} s after frame {longest.frame}, and data of the file is lost "
            "there: damaged; copy or download it again, or let detect fill it (--skip-damaged)"
        )
    if index.lost and filling is not None:
        filling.lost = sum(round(still.seconds * index.fps) for still in index.lost)
        filling.add(path, range(index.lost[0].frame, index.lost[0].frame), index.count)
    return _AvReader(path, index, filling)


def frames_at(
    reader: VideoReader, indices: ArrayLike, transform: Callable[[Images], Images], batch: int = 32
) -> Images:
    """Decodes, transforms and gathers frames, with at most `batch` full-size frames in memory.

    Args:
      reader: the opened video.
      indices: [N] frame indices, in any order; a repeated index is decoded and transformed once.
      transform: maps frames [b, H, W, 3] to [b, h, w, 3], each frame by itself.
      batch: number of frames decoded at a time.

    Returns:
      [N, h, w, 3], with the dtype that `transform` returns.

    Raises:
      UserError: as `VideoReader.read`.
      ValueError: there is no index, or a negative one.
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


class _OutOfOrder(Exception):
    """Sound pictures come in another order than the time stamps say. Decoders do not err in that."""


class _Strayed(Exception):
    """After a seek, the container yields other packets than from its start."""


class _AvReader:
    """A `VideoReader` that decodes with PyAV."""

    _container: Any = None

    def __init__(self, path: Path, index: PacketIndex, filling: Filling | None) -> None:
        self.frame_count = index.count
        self.fps = index.fps
        self.notes = index.notes
        self._path = path
        self._index = index
        self._filling = filling
        self._hole = (0, 0)  # damaged frames, from the first to before the last
        self._hole_frame: Any = None  # what stands for them
        self._before = -1  # index of the sound frame before self._frame
        self._frame_before: Any = None
        self._seeks = True
        self._to_rgb = VideoReformatter()  # kept, because setting it up costs as much as converting a small frame
        try:
            self._restart()
            decodes = self._advance(0) or (self._frame is not None and self._place <= _beginning(index))
        except av.error.FFmpegError:
            decodes = False
        if not decodes:
            raise UserError(f"{path}: its first frame cannot be decoded; copy or convert the file again")
        self._first = self._place
        if self._first:
            self.notes += (
                f"it begins between two key frames: frame {self._first}, the first that decodes, stands for the "
                f"{self._first} before it",
            )
        self._turns = round(self._frame.rotation / 90) % 4
        self._shape = (self._frame.height, self._frame.width)
        self.size = self._shape[::-1] if self._turns % 2 else self._shape

    def _close(self) -> None:
        """Frees the decoder now: PyAV's containers are reference cycles and hold tens of megabytes until collected."""
        if self._container is not None:
            self._container.close()

    __del__ = _close

    def read(self, indices: ArrayLike) -> Images:
        wanted, place = np.unique(checked_indices(indices), return_inverse=True)
        frames = np.empty((len(wanted), *self.size, 3), np.uint8)
        height, width = self._shape
        try:
            for row, index in enumerate(wanted.tolist()):
                frame = self._at(max(index, self._first))
                picture = self._to_rgb.reformat(frame, width=width, height=height, format="rgb24")
                frames[row] = np.rot90(picture.to_ndarray(), self._turns)
        except av.error.FFmpegError as error:
            raise UserError(f"{self._path}: decoding fails ({error.strerror}); convert the file again") from None
        return frames if np.array_equal(place, np.arange(len(wanted))) else frames[place]

    def _restart(self) -> None:
        """Reopens the file before its first frame, because a seek to 0 is not exact in every container."""
        self._close()
        self._container, self._stream = open_container(self._path, self._index.stream)
        self._frame: Any = None
        self._start(0)

    def _start(self, number: int | None) -> None:
        """Starts to decode where the container now stands, at packet `number`, or at one that is to be found out."""
        self._sound = _sound_frames(self._container, self._stream, self._index, number)
        self._place = -1  # index of self._frame
        self._ended = False

    def _advance(self, index: int) -> bool:
        """Decodes up to frame `index`; returns false if the video ends before it, or if the frame is not sound."""
        try:
            return self._decode_up_to(index)
        except _OutOfOrder:
            if self._path not in _told:
                _told.add(self._path)
                _logger.warning("%s: pictures come in another order than time stamps say: order kept", self._path)
            self._index = _in_order_of_pictures(self._path, self._index)
        except _Strayed:
            self._seeks = False
        self._restart()
        return self._decode_up_to(index)

    def _decode_up_to(self, index: int) -> bool:
        for place, frame in self._sound:
            self._before, self._frame_before = self._place, self._frame or frame
            self._place, self._frame = place, frame
            if place >= index:
                return place == index
        self._ended = True
        return False

    def _at(self, index: int) -> Any:
        """Returns frame `index`, or the one that stands for it."""
        if self._hole[0] <= index < self._hole[1]:
            return self._filled(index)
        key = self._index.key_before(index)
        if not (key - 1 <= self._place <= index and self._frame is not None) and not self._seek(key):
            self._restart()
        if self._place == index or self._advance(index):
            return self._frame
        if not self._ended:
            self._hole, self._hole_frame = (self._before + 1, self._place), self._frame_before
            return self._filled(index)
        if self._frame is not None and self._filling is not None and index < self.frame_count:
            self._hole, self._hole_frame = (self._place + 1, self.frame_count), self._frame
            return self._filled(index)
        if self._frame is None or max(index, self.frame_count - 1) - self._place > MISSING_FRAMES_ALLOWED:
            raise UserError(
                f"{self._path}: frame {index} is wanted, but the video ends with frame {self._place} (its container "
                f"announces {self.frame_count} frames); it is cut short, or damaged, or not the video that the "
                "annotations describe"
            )
        return self._frame

    def _filled(self, index: int) -> Any:
        """Returns what stands for the damaged frame `index`; raises `UserError` if nothing may."""
        if self._filling is None:
            raise UserError(f"{self._path}: frame {index} cannot be decoded: damaged; copy or convert the file again")
        self._filling.add(self._path, range(*self._hole), self.frame_count)
        return self._hole_frame

    def _seek(self, key: int) -> bool:
        """Seeks to key frame `key`; returns false if the seek does not reach it, as in containers without an index."""
        stamp = self._index.seek_stamp(key)
        if stamp is None or key == 0 or not self._seeks:
            return False
        self._start(None)
        self._frame = None
        try:
            self._container.seek(stamp, stream=self._stream)
            return self._advance(key)
        except av.error.FFmpegError:  # some demuxers fail to read on after a seek
            return False


def _beginning(index: PacketIndex) -> int:
    """Returns the largest index that the first frame that decodes can have in a sound file.

    Frames may be stored after the first key frame and be shown before it. They are predicted from frames that a
    recording which began there does not hold.
    """
    if index.places is None:
        return 0
    from_key = index.places[index.first_key :]
    shown = from_key[from_key >= 0]
    return int(shown[0]) if len(shown) else 0


@lru_cache(maxsize=64)
def _in_order_of_pictures(path: Path, index: PacketIndex) -> PacketIndex:
    """Decodes a whole file to find the order of its frames; raises `UserError` if it does not yield each once."""
    container, stream = open_container(path, index.stream)
    with container:
        numbers = [number for number, _ in _pictures(container, stream, index, 0)]
    found = index.in_order([number for number in numbers if number is not None])
    if found is None or None in numbers:
        raise UserError(
            f"{path}: its pictures come in another order than its time stamps say, and some are missing: damaged; copy "
            "or convert the file again"
        )
    return found


# Functions, not methods: a generator that refers to its reader would make the reader part of a reference cycle.


def _pictures(container: Any, stream: Any, index: PacketIndex, number: int | None) -> Iterator[tuple[int | None, Any]]:
    """Yields (number of the packet that began it, frame) in the order of decoding, and (number, None) for a loss.

    The number is None where the decoder does not tell it.
    """
    sought = number is None
    for packet in container.demux(stream):
        told = None
        if packet.size:
            if number is None:  # after a seek, until a key frame shows where it led
                number = index.number(packet)
                if number is None:
                    continue
            if sought and (number >= len(index.sizes) or packet.size != index.sizes[number]):
                raise _Strayed
            told = number
            packet.pts, packet.dts = told, None
            number += 1
            if told < index.first_key:
                continue
            if told in index.torn:
                yield told, None
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            yield told, None
            continue
        for frame in frames:
            yield frame.pts, frame


def _decoded(container: Any, stream: Any, index: PacketIndex, number: int | None) -> Iterator[tuple[int, Any]]:
    """Yields (index, frame) in presentation order; a lost frame is None and comes in storage order."""
    last, sound = -1, True
    for told, frame in _pictures(container, stream, index, number):
        if index.places is None:
            if frame is None:  # a lost frame would shift the count of all later frames
                yield last + 1, None
                return
            place = last + 1
        elif told is None:
            continue
        else:
            place = int(index.places[told])
        sound = sound and frame is not None and not frame.is_corrupt
        if frame is None:
            yield place, None
            continue
        if sound and 0 <= place < last:
            raise _OutOfOrder
        if place >= 0:
            last = place
            yield place, frame


def _sound_frames(container: Any, stream: Any, index: PacketIndex, number: int | None) -> Iterator[tuple[int, Any]]:
    """Yields (index, frame) in order, without damaged frames and frames that may be predicted from damaged ones.

    A frame is held back until every frame it can be predicted from has been decoded: only then is it known to be sound.
    """
    settled = index.settled
    held: deque[tuple[int, Any]] = deque()
    damaged: list[int] = []
    last = None

    def is_sound(place: int) -> bool:
        key = index.key_before(place)
        return not any(key <= bad and (settled is None or bad <= settled[place]) for bad in damaged)

    for place, frame in _decoded(container, stream, index, number):
        if frame is None or frame.is_corrupt:
            damaged.append(place)
        if frame is None:
            continue
        if last is not None:
            damaged.extend(range(last + 1, place))  # frames that the decoder dropped without an error
        last = place
        held.append((place, frame))
        # where nothing tells the decoding order, the next frame that is not a B-frame ends the wait
        while held and (frame.pict_type != PictureType.B if settled is None else settled[held[0][0]] <= place):
            if is_sound(held[0][0]):
                yield held[0]
            held.popleft()
    yield from (entry for entry in held if is_sound(entry[0]))


def checked_indices(indices: ArrayLike) -> NDArray[np.int64]:
    """Returns frame indices as int64; raises `ValueError` unless there is at least one and none is negative."""
    checked = np.asarray(indices, np.int64)
    if checked.ndim != 1 or not len(checked) or checked.min() < 0:
        raise ValueError(f"expected one or more frame indices of at least 0, got {indices!r}")
    return checked
