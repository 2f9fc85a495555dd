"""Reading with decord, of the files that decord reads rightly.

decord does not tell what it gets wrong. A file is therefore given to it only if

- the packet scan finds nothing in it that decord is known to get wrong (`reason_against`),
- decord finds the same frames in it: their number, their times, and which are key frames,
- decord's pictures of the first frame and of the last key frame are those of PyAV.

What stays is what no packet scan can see:

- Damage. Where a packet is lost, decord fails, and PyAV reads the file instead, which refuses the frames that cannot be
  decoded. Where only some bytes of a frame are wrong, decord returns made-up pictures without a word. PyAV reports most
  of these in H.264 and MPEG-4.
- Stamps of two frames that are swapped without a trace, among B-frames: decord is off by one frame from there to the
  next key frame it jumps to. PyAV refuses such frames.
"""

from __future__ import annotations

import importlib
import importlib.util
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from adatad_jax.errors import UserError
from adatad_jax.video.decode import Images, VideoReader, checked_indices, open_video
from adatad_jax.video.packets import read_packets
from adatad_jax.video.scan import PacketIndex, scan

# In other containers, decord's random access is silently off by some frames.
_CONTAINERS = ("mov,mp4", "matroska,webm")
_LIKE = 2  # largest difference of a pixel between two decoders of the same frame
_CROWDED = 0.1  # times the ordinary step; decord tells frames apart by their stamps
_SAME_TIME = 1e-3  # seconds; decord has times in float32
_LAST_READS = 30.0  # seconds that a program which ends waits for the reads in progress; a busy machine takes some

_gate = threading.Condition()
_reads = 0
_program_ends = False
_left: list[Any] = []  # decoders of readers that went while the program ends
_living: weakref.WeakSet[DecordReader] = weakref.WeakSet()


class Verdict(NamedTuple):
    """Whether decord reads a file.

    Attributes:
      against: why it may not, in words; empty if it may.
      size: height and width of its frames, pixels; (0, 0) where it may not.
    """

    against: str
    size: tuple[int, int]


def is_installed() -> bool:
    """Tells whether the package decord is there."""
    return importlib.util.find_spec("decord") is not None


def reason_against(index: PacketIndex) -> str:
    """Returns why decord may not read a file with these packets, in words; empty if nothing speaks against it."""
    places = index.places
    if index.codec == "hevc":
        return "HEVC, of which decord does not notice lost frames"
    if not index.kind.startswith(_CONTAINERS):
        return f"a container in which decord misses frames ({index.kind})"
    if places is None or not index.has_own_times:
        return "time stamps that are not believed as they are"
    if (places < 0).any():
        return "frames hidden by an edit list"
    if len(places) != index.count:
        return "frames of two packets (field pictures)"
    if index.first_key or not len(index.keys) or index.keys[0]:
        return "a start between two key frames"
    steps = np.diff(index.times)
    if steps.min() < _CROWDED * np.median(steps):
        return "time stamps that nearly coincide"
    if index.lost or index.notes:
        return "several video tracks, or stretches without a frame"
    keys = index.keys[1:]
    stored = np.argsort(places)[keys]  # where the key frames come in decoding order
    before, from_here = np.maximum.accumulate(places), np.minimum.accumulate(places[::-1])[::-1]
    if (before[stored - 1] > keys).any() or (from_here[stored] < keys).any():
        return "frames that are shown before the key frame they are stored after (open groups of pictures)"
    return ""


def judge(path: Path) -> Verdict:
    """Tells whether decord reads a file; the verdict on an unchanged file (same size and time of change) is cached.

    Raises:
      UserError: as `scan` and `open_video`; or the program is ending.
    """
    index = scan(path)
    status = path.stat()
    if against := reason_against(index):
        return Verdict(against, (0, 0))
    return _compared(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=65536)
def _compared(path: Path, size: int, changed: int) -> Verdict:
    """Compares decord with the packet scan and with PyAV; `size` and `changed` only tell versions of a file apart."""
    index = scan(path)
    if _has_swapped_stamps(path, index.stream):
        return Verdict("time stamps that seem to be swapped", (0, 0))
    shown = [0, int(index.keys[-1])]
    own = open_video(path).read(shown)
    try:
        with _read():
            video = _open(path)
            count, keys = len(video), np.asarray(video.get_key_indices())
            times = np.asarray(video.get_frame_timestamp(range(count)))[:, 0]
            pictures = video.get_batch(shown).asnumpy()
            del video
    except _errors():
        return Verdict("frames that decord fails to decode", (0, 0))
    if count != index.count or not np.array_equal(keys, index.keys):
        return Verdict("other frames in decord than the packets show", (0, 0))
    if np.abs(times - times[0] - index.times[:-1]).max() > _SAME_TIME:
        return Verdict("other times in decord than the packets show", (0, 0))
    if pictures.shape != own.shape or np.abs(pictures.astype(np.int16) - own).max() > _LIKE:
        return Verdict("other pictures in decord than in PyAV", (0, 0))
    return Verdict("", own.shape[1:3])


def _has_swapped_stamps(path: Path, stream: int) -> bool:
    """Tells whether times of decoding nearly coincide, as they do where the stamps of two frames are swapped.

    decord skips frames by their stamps: where the decoder returns frames in another order, it is off by one from there.
    """
    track = next(track for track in read_packets(path).tracks if track.stream == stream)
    steps = np.diff(track.dts[~np.isnan(track.dts)])
    return bool(len(steps)) and bool((steps <= _CROWDED * np.median(steps)).any())


class DecordReader:
    """A `VideoReader` that decodes with decord, and with PyAV from the first frame on that decord cannot decode."""

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        """Opens a file that `judge` allows, with frames of this size."""
        index = scan(path)
        self.frame_count = index.count
        self.fps = index.fps
        self.size = size
        self.notes = index.notes
        self._path = path
        self._other: VideoReader | None = None
        self._video: Any = None
        with _read():
            self._video = _open(path)
            _living.add(self)

    def read(self, indices: ArrayLike) -> Images:
        """Returns the frames at the given indices; see `VideoReader.read`."""
        wanted, place = np.unique(checked_indices(indices), return_inverse=True)
        if self._other is None and wanted[-1] < self.frame_count:
            try:
                with _read():
                    frames: Images = self._video.get_batch(wanted).asnumpy()
                return frames if np.array_equal(place, np.arange(len(wanted))) else frames[place]
            except _errors():
                self._free()
        if self._other is None:
            self._other = open_video(self._path)
        return self._other.read(indices)

    def _free(self) -> None:
        """Frees decord's decoder, unless the program is ending: then `_let_finish` does."""
        try:
            with _read():
                self._video = None
        except UserError:
            _left.append(self._video)

    __del__ = _free


def _open(path: Path) -> Any:
    return _decord().VideoReader(str(path), num_threads=1)


@lru_cache(maxsize=1)
def _decord() -> Any:
    """Imports decord, which is not there on every machine, and has it print nothing."""
    decord = importlib.import_module("decord")
    decord.logging.set_level(decord.logging.QUIET)
    return decord


def _errors() -> tuple[type[Exception], ...]:
    """Returns the exceptions by which decord tells that it cannot read."""
    return _decord().DECORDError, RuntimeError, IndexError, AssertionError, StopIteration


@contextmanager
def _read() -> Iterator[None]:
    """Encloses every call of decord. Raises `UserError` if the program is ending."""
    global _reads
    with _gate:
        if _program_ends:
            raise UserError("reading was abandoned, as the program ends")
        _reads += 1
    try:
        yield
    finally:
        with _gate:
            _reads -= 1
            _gate.notify_all()


def _let_finish() -> None:
    """Waits for reads in progress, makes later ones fail, and frees the decoders, which have threads of their own."""
    global _program_ends
    with _gate:
        _program_ends = True
        is_free = _gate.wait_for(lambda: not _reads, _LAST_READS)
    if is_free:
        for reader in list(_living):
            reader._video = None
        _left.clear()


# A process that ends while decord decodes in one of its threads is aborted by C++. Executors wait for their threads in
# hooks of this kind, and so does `limits`; hooks run last in, first out, and this module comes after both.
threading._register_atexit(_let_finish)  # type: ignore[attr-defined]
