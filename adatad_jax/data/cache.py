"""The frame cache: for every video, the frames that windows can load, decoded once and resized.

A cache folder holds `SHORT_SIDE/NAME.array_record` with the frames of a video and `SHORT_SIDE/NAME.json` with their
description (`CacheEntry`). A record is a strip, 24 pixels wide, of 32 frames set side by side, as one JPEG or lossless.
A window reads only its groups of frames, and a crop reads only its strips: a random resized crop is less than half as
wide as a 16:9 frame. The JPEGs have chroma at full resolution, because chroma at half resolution would blur across the
seams between frames; a lower chroma quality makes up for the size. `benchmarks/loading.py` measures the loading.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from numpy.typing import ArrayLike, NDArray

from adatad_jax.data.sampling import KeptFrames
from adatad_jax.errors import UserError, listed, one_line
from adatad_jax.files import write_text
from adatad_jax.video.decode import VideoReader
from adatad_jax.video.readers import PYAV
from adatad_jax.video.steady import open_steady, steady_layout
from adatad_jax.video.transforms import Box, resize_short_side

Images = NDArray[np.uint8]

FORMAT = 1  # version of the records; records of another version are written again
GROUP, STRIP = 32, 24  # frames, pixels
DECODED_AT_ONCE = 8
DEFAULT_QUALITY, CHROMA_LESS = 90, 10
REMEDY = "run python -m adatad_jax.prepare"

# A record is one chunk, read by itself. JPEGs do not compress further; zstd compresses lossless strips.
WRITE_JPEG, WRITE_LOSSLESS = "group_size:1,uncompressed", "group_size:1,zstd:1"
READ = "readahead_buffer_size:0,max_parallelism:0"


@dataclass(frozen=True)
class CacheEntry:
    """The description of one record file: one video at one short side.

    Attributes:
      source: file name of the video.
      source_bytes: size of the video file, in bytes.
      source_mtime_ns: time of the video file's last change, in nanoseconds.
      frame_count: number of frames of the video at its constant rate.
      fps: this rate, in frames per second.
      frames: which frames of the video are kept (`KeptFrames.rule`).
      height: height of a kept frame, in pixels.
      width: width of a kept frame, in pixels.
      quality: luma quality of the JPEGs, 1 to 100; None means lossless.
      bytes: size of the record file, in bytes.
      sha256: checksum of the record file.
      format: version of the records.
      by_time: whether frames were taken by their time. Earlier versions took them by their number, which is the same
        in a video of constant rate only.
      notes: what was repaired, assumed or chosen in reading the file, in words.
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
    by_time: bool = False
    notes: list[str] = field(default_factory=list)

    def is_of(self, source: Path, kept: KeptFrames, quality: int | None) -> bool:
        """Returns whether the records were made from this file, as it is now, with these settings."""
        status = source.stat()
        made_of = self.source, self.source_bytes, self.source_mtime_ns, self.frames, self.quality
        wanted = source.name, status.st_size, status.st_mtime_ns, kept.rule(), quality
        return made_of == wanted and self.keeps_time(source)

    def keeps_time(self, source: Path) -> bool:
        """Returns whether the records hold the frames by their time; raises `UserError` as `steady_layout`."""
        return self.by_time or steady_layout(source).as_it_is


def record_file(folder: Path, short_side: int, name: str) -> Path:
    """Returns the path of a video's record file, below `folder` even where the name is a path that leads elsewhere."""
    parts = [part for part in PurePosixPath(name).parts if part not in ("/", "//", "..")] or [""]
    return folder.joinpath(str(short_side), *parts[:-1], f"{parts[-1]}.array_record")


def read_entry(records: Path) -> CacheEntry | None:
    """Reads a record file's entry; returns None if it is missing, of another format, or gives another file size."""
    try:
        entry = CacheEntry(**json.loads(records.with_suffix(".json").read_text()))
        return entry if entry.format == FORMAT and records.stat().st_size == entry.bytes else None
    except (OSError, ValueError, TypeError):
        return None


def cached_names(folder: Path, short_sides: Iterable[int]) -> list[str]:
    """Returns the names of the videos that a cache describes at one of some short sides, ascending."""
    tops = [folder / str(side) for side in short_sides]
    return sorted({path.relative_to(top).with_suffix("").as_posix() for top in tops for path in top.rglob("*.json")})


def checksum(records: Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal."""
    with records.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class WriteError(UserError):
    """An error of writing the cache: the disk is full, or files cannot be created. Other videos would fail as well."""


@dataclass(frozen=True)
class CacheTask:
    """The job of one call of `cache_video`.

    Attributes:
      folder: the cache folder.
      name: name of the video.
      source: the video file.
      short_sides: short sides in pixels; a record file is written for each.
      kept: which frames of the video are kept.
      quality: luma quality of the JPEGs, 1 to 100; None means lossless.
      reader: of the video (`video.readers`).
    """

    folder: Path
    name: str
    source: Path
    short_sides: tuple[int, ...]
    kept: KeptFrames
    quality: int | None
    reader: str = PYAV


def cache_video(task: CacheTask) -> int:
    """Decodes a video once and writes its record files and entries, each completely or not at all.

    Returns:
      The number of frames kept.

    Raises:
      WriteError: the files cannot be written.
      UserError: the video cannot be decoded.
    """
    cv2.setNumThreads(1)  # whole videos are processed in parallel, so OpenCV's own threads would only compete
    source = task.source
    reader = open_steady(source, reader=task.reader)
    status = source.stat()
    kept = task.kept.loadable(reader.frame_count)
    outputs = [record_file(task.folder, short_side, task.name) for short_side in task.short_sides]
    # the name holds the process id, because a worker that outlives a killed run may still be writing the same video
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
                entry = CacheEntry(
                    source=source.name,
                    source_bytes=status.st_size,
                    source_mtime_ns=status.st_mtime_ns,
                    frame_count=reader.frame_count,
                    fps=reader.fps,
                    frames=task.kept.rule(),
                    height=frames.shape[1],
                    width=frames.shape[2],
                    quality=task.quality,
                    bytes=path.stat().st_size,
                    sha256=checksum(path),
                    by_time=True,
                    notes=list(reader.notes),
                )
                path.replace(output)
            write_text(output.with_suffix(".json"), json.dumps(dataclasses.asdict(entry), indent=1))
    finally:
        for path in partial:
            path.unlink(missing_ok=True)
    return len(kept)


def _resized(reader: VideoReader, indices: NDArray[np.int64], short_sides: Sequence[int]) -> list[Images]:
    """Returns the frames of a group at each short side, with only a few at a time held at full size."""
    parts = []
    for first in range(0, len(indices), DECODED_AT_ONCE):
        decoded = reader.read(indices[first : first + DECODED_AT_ONCE])
        parts.append([resize_short_side(decoded, short_side) for short_side in short_sides])
    return [np.concatenate(frames) for frames in zip(*parts, strict=True)]


@contextmanager
def _writing(task: CacheTask) -> Iterator[None]:
    """Turns failures to write the cache into `WriteError`."""
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


def open_cache(folder: Path, kept: KeptFrames, short_side: int, files: Mapping[str, Path | None]) -> FrameCache:
    """Opens the cached frames of videos, after a check that the cache holds the frames the configuration needs.

    Args:
      folder: the cache folder.
      kept: which frames of the videos can be loaded.
      short_side: short side of the frames, in pixels.
      files: a mapping from name to video file, for the videos that will be read; None for a file that is gone.

    Raises:
      UserError: the folder is missing, or some videos are missing from the cache, were cached with other settings, or
        from another file; the message lists the first of these videos.
    """
    if not folder.is_dir():
        raise UserError(f"config.data.cache={folder}: no such folder; {REMEDY} --output {folder}")
    wanted, entries, problems = kept.rule(), {}, []
    for name, source in files.items():
        records = record_file(folder, short_side, name)
        entry = read_entry(records)
        if entry is None:
            problems.append(f"{records}: not there or incomplete")
        elif entry.frames != wanted:
            fields = [
                f"{field} {entry.frames.get(field)}, not {value}"
                for field, value in wanted.items()
                if entry.frames.get(field) != value
            ]
            problems.append(f"{records}: {', '.join(fields)} of the configuration")
        elif source is not None and (source.name, source.stat().st_size) != (entry.source, entry.source_bytes):
            problems.append(
                f"{records}: made from {entry.source} of {entry.source_bytes} bytes, not from {source} as it is now"
            )
        elif source is not None and not entry.keeps_time(source):
            problems.append(f"{records}: made by an earlier version, which took the frames of {source} by their number")
        else:
            entries[name] = entry
    if problems:
        raise UserError(
            f"config.data.cache={folder}: {len(problems)} of {len(files)} videos are not in it as this configuration "
            f"needs them; {REMEDY} --output {folder} with the same configuration:{listed(problems)}"
        )
    return FrameCache(folder, kept, short_side, entries)


class FrameCache:
    """Frames read from a cache instead of the videos. Threads may share it: each read opens the record file anew."""

    def __init__(self, folder: Path, kept: KeptFrames, short_side: int, entries: Mapping[str, CacheEntry]) -> None:
        self._folder = folder
        self._short_side = short_side
        self._entries = entries
        self._kept = kept.loadable

    def count(self, video: str) -> int:
        """Returns the number of frames in the video's container."""
        return self._entries[video].frame_count

    def size(self, video: str) -> tuple[int, int]:
        """Returns the height and width of the video's kept frames, in pixels."""
        return self._entries[video].height, self._entries[video].width

    def read(
        self,
        video: str,
        indices: ArrayLike,
        box: Box | None = None,
        transform: Callable[[Images], Images] | None = None,
    ) -> Images:
        """Reads frames of a video.

        Args:
          video: name of the video.
          indices: [N] frame indices in the video, in any order; a repeated index is decoded once.
          box: the part of each frame to read; None means whole frames.
          transform: maps frames [b, h, w, 3] of the box's size to [b, h', w', 3], each frame by itself; None leaves
            frames as they are.

        Returns:
          [N, h', w', 3], with the dtype that `transform` returns, or uint8 RGB.

        Raises:
          UserError: a frame is not in the cache, or its record cannot be read.
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

    def _places(self, records: Path, entry: CacheEntry, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the places of the given frames among the kept ones; raises `UserError` for a frame not kept."""
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
    """Encodes a strip of frames as one record.

    Args:
      strip: [N, h, w, 3] uint8 RGB.
      quality: luma quality of the JPEG, 1 to 100; None means lossless.
    """
    side_by_side = strip.transpose(1, 0, 2, 3).reshape(len(strip[0]), -1, 3)
    if quality is None:
        # differences between rows compress as well as PNG and decode four times faster
        return np.diff(side_by_side, axis=0, prepend=np.uint8(0)).tobytes()
    settings = [cv2.IMWRITE_JPEG_LUMA_QUALITY, quality]
    settings += [cv2.IMWRITE_JPEG_CHROMA_QUALITY, max(1, quality - CHROMA_LESS)]
    settings += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(".jpg", cv2.cvtColor(side_by_side, cv2.COLOR_RGB2BGR), settings)[1].tobytes()


def decode_strip(record: bytes, height: int, width: int, quality: int | None) -> Images:
    """Decodes one record.

    Args:
      record: the encoded strip.
      height: height of the strip, in pixels.
      width: width of the strip, in pixels.
      quality: as given to `encode_strip`.

    Returns:
      [h, N, w, 3] uint8 RGB: rows, frames, columns.

    Raises:
      ValueError: the record does not hold frames of this size.
    """
    data = np.frombuffer(record, np.uint8)
    if quality is None:
        rows = np.cumsum(data.reshape(height, -1), axis=0, dtype=np.uint8)
        return rows.reshape(height, -1, width, 3)
    image: Images | None = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)  # type: ignore[assignment]
    if image is None or len(image) != height:
        raise ValueError("not a JPEG of this height")
    return image.reshape(height, -1, width, 3)


def _read_group(
    reader: Any, records: Path, entry: CacheEntry, group: int, wanted: NDArray[np.int64], box: Box
) -> Images:
    """Reads `box` [n, h, w, 3] of the wanted frames of a group; `wanted` are ascending places in it, each once."""
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


def _read_record(reader: Any, records: Path, index: int, entry: CacheEntry, width: int) -> Images:
    """Reads and decodes one record; raises `UserError` if that fails."""
    try:
        if not reader.ok():
            raise ValueError("the file cannot be opened")
        [record] = reader.read([index])
        return decode_strip(record, entry.height, width, entry.quality)
    except (RuntimeError, ValueError, IndexError, cv2.error) as error:
        raise UserError(
            f"{records}: record {index} cannot be read ({one_line(error)}); delete this file, then {REMEDY} again"
        ) from error
