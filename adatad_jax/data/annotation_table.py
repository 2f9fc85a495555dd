"""The user's own annotations: a table `video,start,end,label` with one segment per line, and its videos' lengths."""

from __future__ import annotations

import csv
import hashlib
import io
import logging
from collections import defaultdict
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adatad_jax.config.fields import DataConfig
from adatad_jax.console import watched
from adatad_jax.data.annotation_files import read_text
from adatad_jax.data.annotations import Video, finite_number
from adatad_jax.errors import UserError, listed
from adatad_jax.video.limits import within
from adatad_jax.video.names import find_files, short_names, videos_below
from adatad_jax.video.steady import lay_out

COLUMNS = ("video", "start", "end", "label")
SPLIT = ("training", "validation")  # subsets where the table has no column for them
ROUNDED_BY = 1.0  # seconds; a segment may end this much after its video, as in tables of whole seconds
_logger = logging.getLogger(__name__)


class AnnotationRow(NamedTuple):
    """One line of the table.

    Attributes:
      line: line number, from 1.
      video: name as written, with or without the file's extension.
      segment: start and end in seconds; None if the line names a video without segments.
      label: class name; empty if there is no segment.
      subset: name of the subset; empty if the table has no such column.
    """

    line: int
    video: str
    segment: tuple[float, float] | None
    label: str
    subset: str


class Length(NamedTuple):
    """Length of a video file.

    Attributes:
      frames: number of frames at the video's constant rate.
      seconds: length in seconds.
    """

    frames: int
    seconds: float


def load_table(data: DataConfig) -> dict[str, Video]:
    """Reads a CSV file with the columns video, start, end, label, and optionally subset. Other columns are ignored.

    `video` is the name of a file as `find_files` takes it; `start` and `end` are seconds. A line whose start, end and
    label are empty names a video without segments. A segment that ends up to a second after its video, as in tables of
    whole seconds, is cut to the video's end. Frame counts and rates are those of the files. The column
    `subset` decides the subsets; without it, `split_by_hash` does. Videos of the folder that are not in the table are
    not used, and a warning lists them. As long as table and files do not change, they are read only once.

    Args:
      data: of the configuration: `annotations`, `videos`, `video_prefix`, `fps` (as in `load_annotations`), `split`,
        `threads`, `time_limit`, `skip_broken` (leave out videos that are missing or cannot be read, with a warning).

    Returns:
      name -> annotation, in the order of the table.

    Raises:
      UserError: the table is missing or wrong (all wrong lines are listed), or its videos are missing or cannot be
        read.
    """
    path, folder = Path(data.annotations), Path(data.videos)
    if not path.is_file():
        read_text(path)  # raises the error that says why
    if not data.videos or not folder.is_dir():
        where = data.videos or "(not set)"
        raise UserError(f"config.data.videos={where}: no such folder; the lengths of the videos are read there")
    files = [path, *(file for file in videos_below(folder) if file.exists())]
    state = tuple((file, (status := file.stat()).st_size, status.st_mtime_ns) for file in files)
    settings = data.video_prefix, data.fps, data.split, data.threads, data.time_limit, data.skip_broken
    return dict(_load(path, folder, state, *settings))


@lru_cache(maxsize=2)
def _load(
    path: Path,
    folder: Path,
    state: tuple[tuple[Path, int, int], ...],
    prefix: str,
    fixed_fps: float,
    share: float,
    threads: int,
    time_limit: float,
    skip_broken: bool,
) -> dict[str, Video]:
    """Reads the table as `load_table` does; `state` only makes the cache miss when a file has changed."""
    problems: list[str] = []
    rows = parse_table(path, read_text(path), problems)
    names = short_names(folder, {row.video for row in rows}, prefix)
    files, missing = find_files(folder, list(dict.fromkeys(names[row.video] for row in rows)), prefix)
    broken = [f"line {row.line}: {missing[names[row.video]]}" for row in rows if names[row.video] in missing]
    if not skip_broken:
        problems += broken
    by_video: dict[str, list[AnnotationRow]] = defaultdict(list)
    for row in rows:
        if names[row.video] in files:
            by_video[names[row.video]].append(row)
    for name, own in by_video.items():
        if len({row.subset for row in own}) > 1:
            each = ", ".join(f'line {row.line} "{row.subset}"' for row in _first_of_each_subset(own))
            problems.append(f'video "{name}" is in several subsets ({each}); put it into one')
        if len(folders := {str(Path(row.video).parent) for row in own}) > 1:
            problems.append(
                f'video "{name}" is named in several folders ({", ".join(sorted(folders))}), and names alone tell '
                f"videos apart: give each file a name of its own, all in {folder}"
            )
    if problems:
        raise UserError(f"{path}: {len(problems)} problem(s) to correct:{listed(problems)}")

    lengths, unreadable = read_lengths(files, threads, time_limit)
    broken += unreadable
    if unreadable and not skip_broken:
        raise UserError(f"{folder}: {len(unreadable)} of {len(files)} videos cannot be read:{listed(unreadable)}")
    if broken:
        _logger.warning("%s: left out, as config.data.skip_broken is set:%s", path, listed(broken))
    if not lengths:
        raise UserError(f"{path}: no video to use is left; see the warning above")
    split = {} if rows[0].subset else split_by_hash(lengths, share)
    videos = {
        name: _video(name, own, split.get(name, own[0].subset), lengths[name], fixed_fps, problems)
        for name, own in by_video.items()
        if name in lengths
    }
    if problems:
        raise UserError(f"{path}: {len(problems)} problem(s) to correct:{listed(problems)}")
    unused = sorted(str(file.relative_to(folder)) for file in {file for file, _, _ in state[1:]} - set(files.values()))
    if unused:
        _logger.warning("%s: not in %s, not used: %d videos:%s", folder, path.name, len(unused), listed(unused))
    return videos


def parse_table(path: Path, text: str, problems: list[str]) -> list[AnnotationRow]:
    """Parses the lines of a table. Empty lines are skipped.

    Args:
      path: the file, for messages.
      text: its content.
      problems: receives a message for each wrong line.

    Raises:
      UserError: the header is not that of a table, or no line follows it.
    """
    reader = csv.reader(io.StringIO(text), strict=True)
    rows: list[AnnotationRow] = []
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if not set(COLUMNS) <= set(header) or len(set(header)) < len(header):
            raise UserError(
                f"{path}: line 1: expected the names of columns, {','.join(COLUMNS)} and optionally subset, each once "
                f"and separated by commas; found {','.join(header) or 'nothing'}"
            )
        for values in reader:
            fields = dict(zip(header, (value.strip() for value in values), strict=False))
            if not any(fields.values()):
                continue
            if len(values) != len(header):
                problems.append(
                    f"line {reader.line_num}: {len(values)} values, expected {len(header)}: put a value that holds a "
                    "comma into quotes"
                )
            elif row := _row(reader.line_num, fields, problems):
                rows.append(row)
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: not a table ({error})") from None
    if not rows and not problems:
        raise UserError(f"{path}: no segments, only a header; expected one line per segment")
    return rows


def split_by_hash(names: Collection[str], share: float) -> dict[str, str]:
    """Splits videos into "training" and "validation" by the SHA-256 of their names, the same on every machine.

    A video whose first 64 bits, read as a fraction, are below `share` is for training. An added video therefore moves
    no other one. If one side would be empty, the video nearest to the border changes sides.

    Args:
      names: of the videos.
      share: of the videos that are for training, in (0, 1).

    Returns:
      name -> subset.

    Raises:
      UserError: there is only one video.
    """
    if len(names) < 2:
        raise UserError(
            f"{', '.join(names)}: the only video; expected at least two, one to train on and one to evaluate on; or "
            "name the subsets in a column subset, and set --config.data.train_subset and --config.data.test_subset to "
            "them"
        )
    places = {name: int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64 for name in names}
    ranked = sorted(names, key=lambda name: (places[name], name))
    count = sum(place < share for place in places.values())
    count = min(max(count, 1), len(names) - 1)
    return {name: SPLIT[rank >= count] for rank, name in enumerate(ranked)}


def read_lengths(files: Mapping[str, Path], threads: int, time_limit: float) -> tuple[dict[str, Length], list[str]]:
    """Reads the lengths of video files, in parallel and with a progress bar.

    Args:
      files: name -> video file.
      threads: files read at a time.
      time_limit: seconds per file.

    Returns:
      name -> length; and a message for each file that cannot be read.
    """

    def read(path: Path) -> Length | str:
        try:
            layout = within(time_limit, str(path), lambda: lay_out(path))
        except UserError as error:
            return str(error)
        return Length(len(layout.indices), layout.duration)

    with ThreadPoolExecutor(threads) as pool:
        found = pool.map(read, files.values())
        results = dict(zip(files, watched(found, "reading lengths of videos", len(files)), strict=True))
    lengths = {name: result for name, result in results.items() if isinstance(result, Length)}
    return lengths, [result for result in results.values() if isinstance(result, str)]


def _row(line: int, fields: Mapping[str, str], problems: list[str]) -> AnnotationRow | None:
    """Parses one line; returns None and adds to `problems` if it is wrong."""
    video, start, end, label = (fields[column] for column in COLUMNS)
    subset = fields.get("subset", "")
    before = len(problems)
    if not video:
        problems.append(f"line {line}: the video is empty, expected the name of a file")
    if "subset" in fields and not subset:
        problems.append(f"line {line}: the subset is empty, expected a name on every line, or no such column")
    if not start and not end and not label:
        return AnnotationRow(line, video, None, "", subset) if len(problems) == before else None
    if not label:
        problems.append(f"line {line}: the label is empty, expected the name of a class")
    for name, text in (("start", start), ("end", end)):
        if finite_number(text) is None:
            problems.append(f'line {line}: {name} is "{text}", expected seconds, such as 12.5')
    first, last = finite_number(start), finite_number(end)
    if first is None or last is None:
        return None
    if first < 0:
        problems.append(f"line {line}: starts at {start} seconds, expected at least 0")
    if last <= first:
        problems.append(f"line {line}: ends at {end} seconds, expected after its start at {start}")
    return AnnotationRow(line, video, (first, last), label, subset) if len(problems) == before else None


def _video(
    name: str, rows: list[AnnotationRow], subset: str, length: Length, fixed_fps: float, problems: list[str]
) -> Video:
    """Makes one video of its lines; segments outside the video go to `problems`."""
    duration = length.seconds
    segments: list[tuple[float, float]] = []
    labels: list[str] = []
    for row in rows:
        if row.segment is None:
            continue
        start, end = row.segment
        if end > duration + ROUNDED_BY or start >= duration:
            problems.append(
                f'line {row.line}: {start:g} to {end:g} seconds, but video "{row.video}" has {duration:.2f} seconds'
            )
        segments.append((start, min(end, duration)))
        labels.append(row.label)
    frames = int(duration * fixed_fps) if fixed_fps else length.frames
    array = np.array(segments, np.float64).reshape(-1, 2)
    return Video(name, subset, duration, frames, array, tuple(labels), fixed_fps or None)


def _first_of_each_subset(rows: list[AnnotationRow]) -> list[AnnotationRow]:
    return list({row.subset: row for row in reversed(rows)}.values())[::-1]
