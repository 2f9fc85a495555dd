"""From the rows of annotation files to videos with segments in seconds, ready to be written in another format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from adatad_jax.annotations.names import names_of_files, plain_name
from adatad_jax.annotations.records import AnnotationFile, Length, Row, in_seconds, is_outside
from adatad_jax.annotations.write import AnnotatedVideo, LabelledSegment
from adatad_jax.errors import UserError, listed
from adatad_jax.video.names import EXTENSIONS, find_files

ReadLengths = Callable[[Mapping[str, Path]], Mapping[str, Length]]
"""Reads the lengths of video files: name -> file to name -> length."""

ROUNDING = 1e-3  # seconds


class _Part(NamedTuple):
    """The rows of one annotation file on one video."""

    file: AnnotationFile
    rows: Sequence[Row]


class _Oddities(NamedTuple):
    """Places of segments that are changed or suspicious.

    Attributes:
      before: those that start before 0.
      beyond: those that end after the length that the annotations tell.
      twice: those that an earlier file has, too.
    """

    before: list[str]
    beyond: list[str]
    twice: list[str]

    def notes(self) -> list[str]:
        """Returns a note with a count for each kind."""
        told = (
            (self.before, "start before their video, cut to its start"),
            (self.beyond, "end after the length of their video that the annotations tell (--videos checks them)"),
            (self.twice, "are in several of the files, written once"),
        )
        return [f"{len(places)} segments {what}:{listed(places)}" for places, what in told if places]


def videos_of(
    files: Sequence[AnnotationFile],
    folder: Path | None,
    read_lengths: ReadLengths,
    fps: float,
    skip_missing: bool,
    notes: list[str],
) -> list[AnnotatedVideo]:
    """Puts the annotations of several files together, by video.

    Args:
      files: that were read without problems.
      folder: of the video files, which give names, lengths and rates; None if there is none.
      read_lengths: reads the lengths of video files.
      fps: rate that frames are counted at; 0: that of the annotations or the video.
      skip_missing: whether to leave out the videos without a file in the folder.
      notes: receives what was assumed.

    Returns:
      The videos in the order of the annotations.

    Raises:
      UserError: rows do not fit together, or what a video lacks is nowhere to be found.
    """
    parts: dict[str, list[_Part]] = {}
    for file in files:
        written = list(dict.fromkeys(row.video for row in file.rows))
        names = names_of_files(written, file.aliases, folder) if folder else {}
        names = {video: plain_name(names.get(video, video)) for video in written}
        by_name: dict[str, list[Row]] = {}
        for row in file.rows:
            by_name.setdefault(names[row.video], []).append(row)
        for name, rows in by_name.items():
            parts.setdefault(name, []).append(_Part(file, rows))
    found = find_files(folder, list(parts))[0] if folder else {}
    if folder and len(found) < len(parts):
        lacking = [name for name in parts if name not in found]
        fate = ", left out" if skip_missing else ""
        notes.append(f"{len(lacking)} of {len(parts)} videos have no file in {folder}{fate}:{listed(lacking)}")
        if skip_missing:
            parts = {name: own for name, own in parts.items() if name in found}
    lengths = read_lengths(found)
    problems: list[str] = []
    oddities = _Oddities([], [], [])
    videos = [
        _video(name, own, found[name].name if name in found else "", lengths.get(name), fps, problems, oddities)
        for name, own in parts.items()
    ]
    if not parts:
        raise UserError(f"{folder}: has none of the annotated videos")
    if problems:
        raise UserError(f"{len(problems)} problem(s) to correct:{listed(problems)}")
    notes += oddities.notes()
    return videos


def _video(
    name: str,
    parts: Sequence[_Part],
    file_name: str,
    length: Length | None,
    fps: float,
    problems: list[str],
    oddities: _Oddities,
) -> AnnotatedVideo:
    """Makes one video of its parts; what is wrong goes to `problems`, and what is noted to `oddities`."""
    rows = [(part.file, row) for part in parts for row in part.rows]
    subsets = list(dict.fromkeys(row.subset for _, row in rows))
    if len(subsets) > 1:
        problems.append(f'video "{name}" is in the subsets {", ".join(map(repr, subsets))}; put it into one')
    problems += _naming_problems(name, parts, bool(file_name))
    told = next((file.lengths[row.video] for file, row in rows if row.video in file.lengths), Length())
    known = length or told
    segments: list[LabelledSegment] = []
    first: dict[LabelledSegment, AnnotationFile] = {}  # the file that has it first
    for file, row in rows:
        if row.segment is None:
            continue
        place = f"{file.path}: {row.where}"
        rate = fps or file.lengths.get(row.video, Length()).fps
        try:
            start, end = in_seconds(row, Length(fps=rate) if rate > 0 else known, file.point_seconds)
        except ValueError as error:
            problems.append(f"{place}: {error}; give --videos FOLDER, or --fps")
            continue
        if end <= 0:
            problems.append(f"{place}: {start:g} to {end:g} seconds, expected at least 0")
        elif start < 0:
            oddities.before.append(f"{place}: {start:g} to {end:g} seconds")
            start = 0.0
        if length is not None:
            if is_outside(row, start, end, length.duration):
                problems.append(
                    f'{place}: {start:g} to {end:g} seconds, but video "{name}" has {length.duration:.2f} seconds'
                )
            end = min(end, length.duration)
        elif end > told.duration + ROUNDING:
            oddities.beyond.append(f'{place}: {start:g} to {end:g} seconds, video "{name}": {told.duration:g} seconds')
        segment = LabelledSegment(start, end, row.label)
        if first.setdefault(segment, file) is file:
            segments.append(segment)
        else:
            oddities.twice.append(f'{place}: {start:g} to {end:g} seconds, "{row.label}", as in {first[segment].path}')
    written = file_name or plain_name(rows[0][1].video, keep=True)
    return AnnotatedVideo(name, written, subsets[0], known, tuple(segments))


def _naming_problems(name: str, parts: Sequence[_Part], has_file: bool) -> list[str]:
    """Returns what shows that the rows of one name mean several files.

    Across annotation files, folders count less: each may come from another machine, and a name without folder fits
    all. Where `has_file`, the folder of the videos has one file that all of them mean.
    """
    written = list(dict.fromkeys(row.video for part in parts for row in part.rows))
    problems = []
    for part in parts:
        folders = sorted({_folder(row.video) for row in part.rows})
        if len(folders) > 1:
            problems.append(
                f'video "{name}" is named in several folders ({", ".join(folders)}): name each file differently'
            )
    if has_file or problems:
        return problems
    suffixes = {suffix for video in written if (suffix := PurePosixPath(plain_name(video, keep=True)).suffix.lower())}
    across = {_folder(video) for video in written} - {"."}
    if len(suffixes.intersection(EXTENSIONS)) > 1 or len(across) > 1:
        problems.append(
            f'video "{name}" may be several files ({", ".join(written)}): name each file differently, or give --videos '
            "FOLDER with the one file that is meant"
        )
    return problems


def _folder(video: str) -> str:
    return str(PurePosixPath(video).parent)


def without_low_scores(file: AnnotationFile, threshold: float, notes: list[str]) -> AnnotationFile:
    """Returns the file without detections that score less than a threshold; a video that loses all has no segments.

    Args:
      file: with scores.
      threshold: least score that is kept.
      notes: receives how many are left out.

    Raises:
      UserError: a row has no score.
    """
    if lacking := [row.where for row in file.rows if row.segment is not None and row.score is None]:
        raise UserError(f"{file.path}: {lacking[0]} has no score, so --threshold has no meaning; leave it out")
    kept = [row for row in file.rows if row.score is None or row.score >= threshold]
    left = {row.video for row in kept}
    bare = {row.video: row._replace(segment=None, label="", score=None) for row in file.rows if row.video not in left}
    notes.append(f"{file.path}: {len(file.rows) - len(kept)} detections score less than {threshold:g}, left out")
    return replace(file, rows=(*kept, *bare.values()))
