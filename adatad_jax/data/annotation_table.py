"""The annotations of any tool as videos with segments in seconds: their files, lengths and subsets."""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np

from adatad_jax.annotations.names import names_of_files, plain_name
from adatad_jax.annotations.recognise import DETECTIONS, read_annotations
from adatad_jax.annotations.records import AnnotationFile, Length, Options, Row, in_seconds, is_outside
from adatad_jax.config.fields import DataConfig
from adatad_jax.console import watched
from adatad_jax.data.annotations import Video
from adatad_jax.errors import UserError, listed
from adatad_jax.video.limits import within
from adatad_jax.video.names import EXTENSIONS, find_files, videos_below
from adatad_jax.video.scan import scan
from adatad_jax.video.steady import steady_layout

SPLIT = ("training", "validation")  # subsets where the annotations name none
_logger = logging.getLogger(__name__)


def load_table(data: DataConfig) -> dict[str, Video]:
    """Reads an annotation file of any tool, or a folder of them (`annotations.recognise.FORMATS`).

    Names of videos are those of files in the folder, with or without extension, folders or an address around them. A
    segment that ends up to a second after its video, as in tables of whole seconds, is cut to the video's end. Frame
    counts and rates are those of the files; what a tool counts in frames becomes seconds by them. Subsets are those of
    the annotations; where these name none, `split_by_hash` decides. Videos of the folder that are not annotated are not
    used, and a warning lists them. As long as annotations and videos do not change, they are read only once.

    Args:
      data: of the configuration: `annotations`, `format`, `label_from`, `point_seconds`, `videos`, `video_prefix`,
        `fps` (as in `load_annotations`, and the rate that frames are counted at), `split`, `threads`, `time_limit`,
        `skip_broken` (leave out videos that are missing or cannot be read, with a warning).

    Returns:
      name -> annotation, in the order of the annotations.

    Raises:
      UserError: the annotations are missing or wrong (all wrong lines are listed), or their videos are missing or
        cannot be read.
    """
    path, folder = Path(data.annotations), Path(data.videos)
    if not path.exists():
        raise UserError(f"{path}: no such file; check the path")
    if not data.videos or not folder.is_dir():
        where = data.videos or "(not set)"
        raise UserError(f"config.data.videos={where}: no such folder; the lengths of the videos are read there")
    annotated = sorted(path.rglob("*")) if path.is_dir() else [path]
    files = [*annotated, *(file for file in videos_below(folder) if file.exists())]
    state = tuple((file, (status := file.stat()).st_size, status.st_mtime_ns) for file in files)
    settings = data.video_prefix, data.fps, data.split, data.threads, data.time_limit, data.skip_broken
    videos, summary = _load(path, options_of(data), folder, state, *settings)
    _logger.info("%s", summary)
    return dict(videos)


def options_of(data: DataConfig) -> Options:
    """Returns how a configuration has annotations read."""
    return Options(data.format, data.label_from, data.point_seconds)


@lru_cache(maxsize=2)
def _load(
    path: Path,
    options: Options,
    folder: Path,
    state: tuple[tuple[Path, int, int], ...],
    prefix: str,
    fixed_fps: float,
    share: float,
    threads: int,
    time_limit: float,
    skip_broken: bool,
) -> tuple[dict[str, Video], str]:
    """Reads as `load_table` does, and a line on the format; `state` only makes the cache miss when a file changed."""
    file = read_annotations(path, options)
    if file.key == DETECTIONS.key:
        raise UserError(
            f"{path}: holds detections, expected annotations; correct them first: "
            f"python -m adatad_jax.annotations {path} --threshold 0.5 --output my.csv"
        )
    if skip_broken:
        file = file.without_spoilt()
    problems, rows = list(file.problems), file.rows
    names = names_of_files(list(dict.fromkeys(row.video for row in rows)), file.aliases, folder, prefix)
    files, missing = find_files(folder, list(dict.fromkeys(names[row.video] for row in rows)), prefix)
    first = {names[row.video]: row.where for row in reversed(rows)}  # one message per missing video is enough
    broken = [f"{first[name]}: {problem}" for name, problem in missing.items()]
    if not skip_broken:
        problems += broken
    by_video: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if names[row.video] in files:
            by_video[names[row.video]].append(row)
    for name, own in by_video.items():
        problems += _naming_problems(name, own, folder)
    if any(row.subset for row in rows):
        problems += [f"{row.where}: names no subset, but others do" for row in rows if not row.subset]
    _require_none(file, problems)

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
        name: _video(name, own, split.get(name, own[0].subset), lengths[name], file, fixed_fps, problems)
        for name, own in by_video.items()
        if name in lengths
    }
    _require_none(file, problems)
    for note in file.notes:
        _logger.warning("%s: %s", path, note)
    there = {found for found, _, _ in state if found.is_relative_to(folder)} - set(files.values())
    unused = sorted(str(found.relative_to(folder)) for found in there if found.suffix.lower() in EXTENSIONS)
    if unused:
        _logger.warning("%s: not in %s, not used: %d videos:%s", folder, path.name, len(unused), listed(unused))
    return videos, file.summary()


def _require_none(file: AnnotationFile, problems: list[str]) -> None:
    if problems:
        raise UserError(f"{file.path}: {len(problems)} problem(s) to correct (read as {file.name}):{listed(problems)}")


def _naming_problems(name: str, rows: list[Row], folder: Path) -> list[str]:
    """Returns what is wrong with the rows of one video together: their subsets, and the files that they name."""
    problems = []
    if len({row.subset for row in rows}) > 1:
        each = ", ".join(f'{row.where} "{row.subset}"' for row in _first_of_each_subset(rows))
        problems.append(f'video "{name}" is in several subsets ({each}); put it into one')
    folders = {str(PurePosixPath(row.video).parent) for row in rows}
    if len(folders) > 1:
        problems.append(
            f'video "{name}" is named in several folders ({", ".join(sorted(folders))}), and names alone tell videos '
            f"apart: give each file a name of its own, all in {folder}"
        )
    elif len(others := {plain_name(row.video) for row in rows} - {name, plain_name(name)}) > 1:
        problems.append(f'video "{name}" is annotated as several files ({", ".join(sorted(others))}): name it once')
    return problems


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
            layout, clock = within(time_limit, str(path), lambda: (steady_layout(path), scan(path).clock()))
        except UserError as error:
            return str(error)
        frames = len(layout.indices)
        return Length(layout.duration, frames, frames / layout.duration, clock)

    with ThreadPoolExecutor(threads) as pool:
        found = pool.map(read, files.values())
        results = dict(zip(files, watched(found, "reading lengths of videos", len(files)), strict=True))
    lengths = {name: result for name, result in results.items() if isinstance(result, Length)}
    return lengths, [result for result in results.values() if isinstance(result, str)]


def _video(
    name: str,
    rows: list[Row],
    subset: str,
    length: Length,
    file: AnnotationFile,
    fixed_fps: float,
    problems: list[str],
) -> Video:
    """Makes one video of its rows; segments outside the video go to `problems`."""
    duration = length.duration
    segments: list[tuple[float, float]] = []
    labels: list[str] = []
    for row in rows:
        if row.segment is None:
            continue
        rate = fixed_fps or file.lengths.get(row.video, Length()).fps
        try:
            start, end = in_seconds(row, Length(fps=rate) if rate > 0 else length, file.point_seconds)
        except ValueError as error:
            problems.append(f'{row.where}: {error} (video "{name}")')
            continue
        if is_outside(row, start, end, duration):
            problems.append(
                f'{row.where}: {start:g} to {end:g} seconds, but video "{row.video}" has {duration:.2f} seconds'
            )
        segments.append((start, min(end, duration)))
        labels.append(row.label)
    frames = int(duration * fixed_fps) if fixed_fps else length.frames
    array = np.array(segments, np.float64).reshape(-1, 2)
    return Video(name, subset, duration, frames, array, tuple(labels), fixed_fps or None)


def _first_of_each_subset(rows: list[Row]) -> list[Row]:
    return list({row.subset: row for row in reversed(rows)}.values())[::-1]
