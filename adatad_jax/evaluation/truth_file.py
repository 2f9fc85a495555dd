"""Ground truth from an annotation file: one subset, optionally without blocked videos."""

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from adatad_jax.annotations.names import names_of_files, plain_name
from adatad_jax.annotations.recognise import DATABASE, DETECTIONS, TABLE, format_of, read_annotations
from adatad_jax.annotations.records import AnnotationFile, Length, Options, Row, Unit, in_seconds
from adatad_jax.annotations.source import sources_kept
from adatad_jax.annotations.text import read_json
from adatad_jax.data.annotation_table import read_lengths
from adatad_jax.data.annotations import Video, classes_of, load_annotations, select_subset
from adatad_jax.errors import UserError, listed
from adatad_jax.evaluation.ground_truth import GroundTruth, ground_truth_of
from adatad_jax.postprocessing.detections import Detections
from adatad_jax.video.names import find_files, name_hint

THREADS, TIME_LIMIT = 8, 60.0  # of reading the lengths of video files
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Annotated:
    """One subset of an annotation file.

    Attributes:
      subset: name of the subset; empty for a table without subsets.
      truth: segments in seconds and labels of each video that has segments.
      classes: class names that labels index: those given, then the others, sorted.
      durations: duration in seconds of each video of the subset; NaN where the file does not give it.
    """

    subset: str
    truth: GroundTruth
    classes: tuple[str, ...]
    durations: dict[str, float]

    def with_classes(self, classes: Sequence[str]) -> "Annotated":
        """Returns the same with labels that index the given class names first, then the others in today's order."""
        names = tuple(dict.fromkeys((*classes, *self.classes)))
        places = np.array([names.index(name) for name in self.classes], np.int64)
        truth = {video: (segments, places[labels]) for video, (segments, labels) in self.truth.items()}
        return replace(self, truth=truth, classes=names)


def load_truth(
    path: Path,
    subset: str | None = None,
    options: Options = Options(),  # noqa: B008 - an immutable record
    folder: Path | None = None,
) -> Annotated:
    """Reads the ground truth from any annotation file that a detector can be trained with; see `load_table`.

    Neither frame counts nor durations are needed, unless the tool counts frames. In a table, video names count as they
    are written; in the files of tools, without folders and extension.

    Args:
      path: the annotation file.
      subset: name of the subset, spelled as in the file; None if the file has only one, or names no subsets.
      options: how to read it.
      folder: of the video files: names are matched with them, and frames become seconds by their rates.

    Raises:
      UserError: the file is missing or malformed; it does not have the subset, or has several and none was chosen; or
        the subset has no segment.
    """
    with sources_kept():
        if format_of(path, options) is DATABASE:
            videos = load_annotations(path, with_frames=False, with_duration=False)
        else:
            videos = _load_rows(read_annotations(path, options), folder)
    subsets = Counter(video.subset for video in videos.values())
    if subset is None:
        if len(subsets) > 1:
            found = ", ".join(f'"{name}" ({count} videos)' for name, count in sorted(subsets.items()))
            raise UserError(f"{path}: has the subsets {found}: choose one with --subset")
        subset = next(iter(subsets))
    if subset and not any(subsets):
        raise UserError(
            f'{path}: no subset "{subset}": the annotations name none (no column subset); add it, or leave out '
            "--subset to measure against all videos"
        )
    chosen = select_subset(videos, subset, path, "set --subset to one of them")
    truth, names = ground_truth_of(chosen, classes_of(chosen))
    if not truth:
        raise UserError(
            f"{path}: no segment is annotated in the {len(chosen)} videos of {_spoken(subset)}, expected at least one "
            "to measure against: check the file and --subset"
        )
    return Annotated(subset, truth, names, {name: video.duration for name, video in chosen.items()})


def read_blocked(path: Path) -> tuple[str, ...]:
    """Reads the names of videos to leave out from a JSON list, such as ActivityNet's `blocked.json`.

    Raises:
      UserError: the file is missing or holds something else.
    """
    expected = 'a list of video names, ["NAME", ...]'
    names, _ = read_json(path, expected)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path}: found {str(names)[:80]}, expected {expected}; write it in that form")
    return tuple(names)


def leave_out(
    blocked: Collection[str], annotated: Annotated, results: Mapping[str, Detections]
) -> tuple[Annotated, dict[str, Detections], str]:
    """Removes blocked videos from the annotations and the detections.

    Args:
      blocked: names of the videos to leave out.
      annotated: the annotations.
      results: detections of each video.

    Returns:
      The annotations and the detections of the other videos, and a note on what was left out.

    Raises:
      UserError: no annotated segment or no detection remains.
    """
    durations = {video: seconds for video, seconds in annotated.durations.items() if video not in blocked}
    truth = {video: own for video, own in annotated.truth.items() if video not in blocked}
    kept = {video: found for video, found in results.items() if video not in blocked}
    if not truth or not any(map(len, kept.values())):
        side = "annotations" if not truth else "detections"
        raise UserError(f"the list of {len(blocked)} blocked videos leaves no {side}: check that list")
    dropped = [video for video in results if video in blocked]
    count = sum(len(results[video]) for video in dropped)
    gone = len(annotated.durations) - len(durations)
    note = f"blocked and left out: {gone} annotated videos, and {count} detections in {len(dropped)} videos"
    if not gone and not dropped:
        hint = name_hint(blocked, (*durations, *kept))
        note = f"no video is among the {len(blocked)} blocked ones" + (f"; {hint}" if hint else "")
    return replace(annotated, truth=truth, durations=durations), kept, note


def _spoken(subset: str) -> str:
    return f'subset "{subset}"' if subset else "the file"


def _load_rows(file: AnnotationFile, folder: Path | None) -> dict[str, Video]:
    """Returns the videos of a file of any format but the database's."""
    if file.key == DETECTIONS.key:
        raise UserError(f"{file.path}: holds detections, expected annotations to measure against")
    problems = list(file.problems)
    written = list(dict.fromkeys(row.video for row in file.rows))
    names = {video: video if file.key == TABLE.key else plain_name(video) for video in written}
    lengths: dict[str, Length] = {}
    if folder is not None and file.key != TABLE.key:
        names = names_of_files(written, file.aliases, folder)
        if any(row.unit is not Unit.SECONDS for row in file.rows):
            lengths, unreadable = read_lengths(find_files(folder, list(names.values()))[0], THREADS, TIME_LIMIT)
            problems += unreadable
    by_name: dict[str, list[Row]] = {}
    for row in file.rows:
        by_name.setdefault(names[row.video], []).append(row)
    for name, rows in by_name.items():
        subsets = sorted({row.subset for row in rows})
        if len(subsets) > 1:
            problems.append(f'video "{name}" is in the subsets {", ".join(subsets)}; put it into one')
    videos = {name: _video(name, rows, file, lengths.get(name), problems) for name, rows in by_name.items()}
    if problems:
        raise UserError(f"{file.path}: {len(problems)} problem(s) to correct:{listed(problems)}")
    _logger.info("%s", file.summary())
    for note in file.notes:
        _logger.warning("%s: %s", file.path, note)
    return videos


def _video(name: str, rows: list[Row], file: AnnotationFile, length: Length | None, problems: list[str]) -> Video:
    known = file.lengths.get(rows[0].video, Length())
    segments, labels = [], []
    for row in rows:
        if row.segment is None:
            continue
        try:
            segments.append(in_seconds(row, known if known.fps > 0 else length or known, file.point_seconds))
            labels.append(row.label)
        except ValueError as error:
            problems.append(f"{row.where}: {error}; give the folder of the video files with --videos")
    array = np.array(segments, np.float64).reshape(-1, 2)
    duration = length.duration if length is not None else known.duration
    return Video(name, rows[0].subset, duration, 0, array, tuple(labels))
