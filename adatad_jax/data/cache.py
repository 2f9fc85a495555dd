"""The frame cache: the frames that windows can load, of every video, decoded once and resized.

A folder holds `SHORT_SIDE/NAME.array_record` with the frames and `SHORT_SIDE/NAME.json` with what they are (`Entry`).
A record is a strip, 24 pixels wide, of 32 frames, set side by side in one JPEG, or lossless. A window reads only its
groups of frames, a crop only its strips: a random resized crop is less than half as wide as a frame of 16:9. The JPEGs
have chroma at full resolution, as at half it would run over the seams, and at a lower quality instead.
`benchmarks/loading.py` measures.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from numpy.typing import ArrayLike, NDArray

from adatad_jax.config.fields import DataConfig
from adatad_jax.data.sampling import make_sampling
from adatad_jax.errors import UserError, listed, one_line
from adatad_jax.files import write_text
from adatad_jax.video.decode import VideoReader, open_video
from adatad_jax.video.transforms import Box, resize_short_side

Images = NDArray[np.uint8]

FORMAT = 1  # of the records; other ones are made anew
GROUP, STRIP = 32, 24  # frames, pixels
DECODED_AT_ONCE = 8
DEFAULT_QUALITY, CHROMA_LESS = 90, 10
REMEDY = "run python -m adatad_jax.prepare"

# A record is one chunk, read by itself. JPEGs do not compress further; what is lossless is compressed by zstd.
WRITE_JPEG, WRITE_LOSSLESS = "group_size:1,uncompressed", "group_size:1,zstd:1"
READ = "readahead_buffer_size:0,max_parallelism:0"


@dataclass(frozen=True)
class Entry:
    """What the record file of one video at one short side holds.

    Attributes:
      source: file name of the video.
      source_bytes: its size.
      source_mtime_ns: when it was last changed.
      frame_count: frames in its container.
      fps: its frames a second.
      frames: which of its frames are kept (`kept_frames`).
      height: of a kept frame, in pixels.
      width: of a kept frame, in pixels.
      quality: of the JPEGs' luma, 1 to 100; None is lossless.
      bytes: size of the record file.
      sha256: of the record file.
      format: version of the records.
    """

    source: str
    source_bytes: int
    source_mtime_ns: int
    frame_count: int
    fps: float
    frames: dict[str, str | int]
    height: int
    width: int
    quality: int | None
    bytes: int
    sha256: str
    format: int = FORMAT

    def is_of(self, source: Path, data: DataConfig, quality: int | None) -> bool:
        """Whether it was made of this file, as it is now, with these settings."""
        status = source.stat()
        made_of = self.source, self.source_bytes, self.source_mtime_ns, self.frames, self.quality
        return made_of == (source.name, status.st_size, status.st_mtime_ns, kept_frames(data), quality)


def kept_frames(data: DataConfig) -> dict[str, str | int]:
    """What decides which frames of a video its windows can load."""
    if data.sampling == "resize":
        return {"sampling": data.sampling, "frames": data.window * data.frames_per_position}
    return {"sampling": data.sampling, "step": data.stride // data.frames_per_position}


def record_file(folder: Path, short_side: int, name: str) -> Path:
    """Where the frames of a video are kept."""
    return folder / str(short_side) / f"{name}.array_record"


def read_entry(records: Path) -> Entry | None:
    """The entry of a record file; None if there is none, or none of this format, or the file is of another size."""
    try:
        entry = Entry(**json.loads(records.with_suffix(".json").read_text()))
        return entry if entry.format == FORMAT and records.stat().st_size == entry.bytes else None
    except (OSError, ValueError, TypeError):
        return None


def checksum(records: Path) -> str:
    """SHA-256 of a file."""
    with records.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class WriteError(UserError):
    """The cache cannot be written: the disk is full, or files may not be made. No other video would fare better."""


@dataclass(frozen=True)
class Task:
    """What `cache_video` does.

    Attributes:
      folder: of the cache.
      name: of the video.
      source: its file.
      short_sides: in pixels; a record file is written for each.
      data: the `data` section of the configuration.
      quality: of the JPEGs, 1 to 100; None is lossless.
    """

    folder: Path
    name: str
    source: Path
    short_sides: tuple[int, ...]
    data: DataConfig
    quality: int | None


def cache_video(task: Task) -> int:
    """Decodes a video once and writes its record files and entries, each whole or not at all.

    Returns:
      the number of frames kept.

    Raises:
      WriteError: the files cannot be written.
      UserError: the video cannot be decoded.
    """
    cv2.setNumThreads(1)  # videos are what is done in parallel
    source = task.source
    reader = open_video(source)
    status = source.stat()
    kept = make_sampling(task.data).loadable(reader.frame_count)
    outputs = [record_file(task.folder, short_side, task.name) for short_side in task.short_sides]
    # a worker that outlives a killed run may still be writing the same video
    partial = [path.with_name(f".{path.name}.{os.getpid()}.partial") for path in outputs]
    try:
        with _writing(task):
            for path in outputs:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.with_suffix(".json").unlink(missing_ok=True)
            options = WRITE_LOSSLESS if task.quality is None else WRITE_JPEG
            writers = [ArrayRecordWriter(str(path), options) for path in partial]
        for first in range(0, len(kept), GROUP):
            resized = _resized(reader, kept[first : first + GROUP], task.short_sides)
            with _writing(task):
                for frames, writer in zip(resized, writers, strict=True):
                    for left in range(0, frames.shape[2], STRIP):
                        writer.write(encode_strip(frames[:, :, left : left + STRIP], task.quality))
        for frames, writer, path, output in zip(resized, writers, partial, outputs, strict=True):
            with _writing(task):
                writer.close()
                entry = Entry(
                    source=source.name,
                    source_bytes=status.st_size,
                    source_mtime_ns=status.st_mtime_ns,
                    frame_count=reader.frame_count,
                    fps=reader.fps,
                    frames=kept_frames(task.data),
                    height=frames.shape[1],
                    width=frames.shape[2],
                    quality=task.quality,
                    bytes=path.stat().st_size,
                    sha256=checksum(path),
                )
                path.replace(output)
            write_text(output.with_suffix(".json"), json.dumps(dataclasses.asdict(entry), indent=1))
    finally:
        for path in partial:
            path.unlink(missing_ok=True)
    return len(kept)


def _resized(reader: VideoReader, indices: NDArray[np.int64], short_sides: Sequence[int]) -> list[Images]:
    """The frames of a group at each short side; few at a time are held at full size."""
    parts = []
    for first in range(0, len(indices), DECODED_AT_ONCE):
        decoded = reader.read(indices[first : first + DECODED_AT_ONCE])
        parts.append([resize_short_side(decoded, short_side) for short_side in short_sides])
    return [np.concatenate(frames) for frames in zip(*parts, strict=True)]


@contextmanager
def _writing(task: Task) -> Iterator[None]:
    try:
        yield
    # array_record reports the failures of its files as RuntimeError
    except (OSError, RuntimeError) as error:
        full = "No space left" in str(error) or "Disk quota" in str(error)
        reason = "the disk is full; make room" if full else f"{one_line(error)}; choose another folder"
        raise WriteError(
            f"{task.folder}: the frames of {task.source} cannot be written: {reason}, and run this again: what is "
            "finished is kept"
        ) from error


def open_cache(folder: Path, data: DataConfig, short_side: int, files: Mapping[str, Path | None]) -> FrameCache:
    """The cached frames of videos, after a check that they are there and are those that the configuration asks for.

    Args:
      folder: of the cache.
      data: the `data` section of the configuration.
      short_side: in pixels.
      files: name -> video file, of the videos that will be read; None where it is not there any more.

    Raises:
      UserError: videos are missing in the cache, are kept for other settings, or were made of another file; the first
        of them are listed.
    """
    if not folder.is_dir():
        raise UserError(f"config.data.cache={folder}: no such folder; {REMEDY} --output {folder}")
    wanted, entries, problems = kept_frames(data), {}, []
    for name, source in files.items():
        records = record_file(folder, short_side, name)
        entry = read_entry(records)
        if entry is None:
            problems.append(f"{records}: not there, or not whole")
        elif entry.frames != wanted:
            fields = [
                f"{field} {entry.frames.get(field)}, not {value}"
                for field, value in wanted.items()
                if entry.frames.get(field) != value
            ]
            problems.append(f"{records}: {', '.join(fields)} of the configuration")
        elif source is not None and (source.name, source.stat().st_size) != (entry.source, entry.source_bytes):
            problems.append(f"{records}: made of {entry.source}, {entry.source_bytes} bytes, not of {source} as it is")
        else:
            entries[name] = entry
    if problems:
        raise UserError(
            f"config.data.cache={folder}: {len(problems)} of {len(files)} videos are not in it as this configuration "
            f"needs them; {REMEDY} --output {folder} with the same configuration:{listed(problems)}"
        )
    return FrameCache(folder, data, short_side, entries)


class FrameCache:
    """Frames from a cache in place of those from the videos. Threads may share it: each read opens its file."""

    def __init__(self, folder: Path, data: DataConfig, short_side: int, entries: Mapping[str, Entry]) -> None:
        self._folder = folder
        self._short_side = short_side
        self._entries = entries
        self._kept = make_sampling(data).loadable

    def count(self, video: str) -> int:
        """Frames in the video's container."""
        return self._entries[video].frame_count

    def fps(self, video: str) -> float:
        """Frames a second of the video."""
        return self._entries[video].fps

    def size(self, video: str) -> tuple[int, int]:
        """Height and width of the video's kept frames in pixels."""
        return self._entries[video].height, self._entries[video].width

    def read(
        self,
        video: str,
        indices: ArrayLike,
        box: Box | None = None,
        transform: Callable[[Images], Images] | None = None,
    ) -> Images:
        """Frames of a video.

        Args:
          video: its name.
          indices: [n] frames of the video, in any order, repeats decoded once.
          box: the part that is wanted, or None for whole frames.
          transform: maps frames [b, h, w, 3] of the box's size to [b, h', w', 3], each frame by itself.

        Returns:
          [n, h', w', 3], as `transform` gives them, or uint8 RGB.

        Raises:
          UserError: a frame is not among those that are kept, or its record cannot be read.
        """
        entry = self._entries[video]
        records = record_file(self._folder, self._short_side, video)
        places, back = np.unique(self._places(records, entry, np.asarray(indices, np.int64)), return_inverse=True)
        reader = ArrayRecordReader(str(records), READ)
        out: Images | None = None
        for group in np.unique(places // GROUP).tolist():
            first, end = np.searchsorted(places, (group * GROUP, (group + 1) * GROUP))
            wanted = places[first:end] - group * GROUP
            frames = _read_group(reader, records, entry, group, wanted, box or (0, 0, entry.height, entry.width))
            frames = frames if transform is None else transform(frames)
            if out is None:
                out = np.empty((len(places), *frames.shape[1:]), frames.dtype)
            out[first:end] = frames
        reader.close()
        assert out is not None
        return out if np.array_equal(back, np.arange(len(out))) else out[back]

    def _places(self, records: Path, entry: Entry, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where among the kept frames the given ones are."""
        kept = self._kept(entry.frame_count)
        places = np.minimum(np.searchsorted(kept, indices), len(kept) - 1)
        absent = indices[kept[places] != indices]
        if len(absent):
            rule = ", ".join(f"{field} {value}" for field, value in entry.frames.items())
            raise UserError(
                f"{records}: frame {absent[0]} is not in the cache, which keeps {len(kept)} frames of the video's "
                f"{entry.frame_count} ({rule}); {REMEDY} with the configuration that needs it"
            )
        return places


def encode_strip(strip: Images, quality: int | None) -> bytes:
    """Frames [G, h, w, 3] of a strip to one record."""
    side_by_side = strip.transpose(1, 0, 2, 3).reshape(len(strip[0]), -1, 3)
    if quality is None:
        # differences of rows compress as well as PNG, and come back four times faster
        return np.diff(side_by_side, axis=0, prepend=np.uint8(0)).tobytes()
    settings = [cv2.IMWRITE_JPEG_LUMA_QUALITY, quality]
    settings += [cv2.IMWRITE_JPEG_CHROMA_QUALITY, max(1, quality - CHROMA_LESS)]
    settings += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(".jpg", cv2.cvtColor(side_by_side, cv2.COLOR_RGB2BGR), settings)[1].tobytes()


def decode_strip(record: bytes, height: int, width: int, quality: int | None) -> Images:
    """The frames [h, G, w, 3] of one record of strips of this size.

    Raises:
      ValueError: it does not hold such frames.
    """
    data = np.frombuffer(record, np.uint8)
    if quality is None:
        rows = np.cumsum(data.reshape(height, -1), axis=0, dtype=np.uint8)
        return rows.reshape(height, -1, width, 3)
    image: Images | None = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)  # type: ignore[assignment]
    if image is None or len(image) != height:
        raise ValueError("not a JPEG of this height")
    return image.reshape(height, -1, width, 3)


def _read_group(reader: Any, records: Path, entry: Entry, group: int, wanted: NDArray[np.int64], box: Box) -> Images:
    """The box [n, h, w, 3] of the wanted frames of a group, which are distinct and ascend."""
    top, left, height, width = box
    frames = np.empty((len(wanted), height, width, 3), np.uint8)
    consecutive = wanted[-1] - wanted[0] + 1 == len(wanted)
    span = slice(wanted[0], wanted[-1] + 1) if consecutive else wanted  # a slice is a view
    strips = -(-entry.width // STRIP)
    for strip in range(left // STRIP, -(-(left + width) // STRIP)):
        start = strip * STRIP
        first, end = max(left, start), min(left + width, start + STRIP)
        pixels = _read_record(reader, records, group * strips + strip, entry, min(STRIP, entry.width - start))
        part = pixels[top : top + height, :, first - start : end - start]
        frames[:, :, first - left : end - left] = part[:, span].transpose(1, 0, 2, 3)
    return frames


def _read_record(reader: Any, records: Path, index: int, entry: Entry, width: int) -> Images:
    try:
        if not reader.ok():
            raise ValueError("the file cannot be opened")
        [record] = reader.read([index])
        return decode_strip(record, entry.height, width, entry.quality)
    except (RuntimeError, ValueError, IndexError, cv2.error) as error:
        raise UserError(
            f"{records}: record {index} cannot be read ({one_line(error)}); delete this file, then {REMEDY} again"
        ) from error
