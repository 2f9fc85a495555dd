"""Annotated videos, read from ActivityNet-style JSON; subsets and class lists.

The files of all other tools are read by `annotation_table`.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from adatad_jax.annotations.database import VideoEntry, by_video, entry_of, kind_of
from adatad_jax.annotations.records import Length
from adatad_jax.annotations.source import open_source
from adatad_jax.annotations.text import read_text
from adatad_jax.errors import UserError, listed
from adatad_jax.video.spelling import normal

ACTION = "action"  # the one class of a class-agnostic model
_logger = logging.getLogger(__name__)


class InSubset(Protocol):
    """What has a subset."""

    @property
    def subset(self) -> str:
        """Returns the subset's name, as it is written where it is from."""
        ...


InSubsetT = TypeVar("InSubsetT", bound=InSubset)


@dataclass(frozen=True, eq=False)
class Video:
    """One annotated video.

    Attributes:
      name: the video's key in the annotation file.
      subset: the subset of the video, spelled as in the file.
      duration: duration in seconds.
      frames: number of source frames; 0 where frame counts are not read (see `load_annotations`).
      segments: [G, 2] float64, start and end in seconds, in the order of the file.
      labels: G class names, one per segment.
      fixed_fps: the frame rate that positions refer to, for data sets that define a nominal rate (EPIC-Kitchens and
        Charades: 30); with None the rate is `frames / duration`.
    """

    name: str
    subset: str
    duration: float
    frames: int
    segments: NDArray[np.float64]
    labels: tuple[str, ...]
    fixed_fps: float | None = None

    @property
    def fps(self) -> float:
        """Returns the frame rate, in frames per second, that converts positions back to seconds."""
        return self.frames / self.duration if self.fixed_fps is None else self.fixed_fps


def load_annotations(
    path: str | Path,
    *,
    fixed_fps: float | None = None,
    with_frames: bool = True,
    with_duration: bool = True,
    lengths: Mapping[str, Length] = MappingProxyType({}),
) -> dict[str, Video]:
    """Reads `{"database": {name: {"subset", "duration", "frame" or "fps", "annotations": [{"segment", "label"}]}}}`.

    This is the form of the release, of ActionFormer and ActivityNet, and of other data sets converted to that form.
    Further keys are ignored. BMN's form is read too (`database.by_video`). Numbers may be given as strings.

    The frame count is `int(duration * fixed_fps)` if `fixed_fps` is given, else "frame", else `int(duration * fps)`
    with the video's own "fps". A video without "annotations" (the test videos of Ego4D and EPIC-Kitchens) has no
    segments. A segment that ends before it starts (Multi-THUMOS has 30) is left out, because it could be neither
    learned nor matched. A segment that lies outside its video is kept (the release's rule). A warning is logged about
    each of these three cases, with the count.

    Args:
      path: the JSON file.
      fixed_fps: see `Video.fixed_fps`.
      with_frames: whether frame counts are read, and a video without one is a problem. Sampling by `resize` needs no
        frame counts: the file may lack them, or they may describe other copies of the videos.
      with_duration: whether a video without "duration" is a problem; if false, its duration is NaN. Evaluation of
        detections needs no durations.
      lengths: of the video files, which stand in for what the file lacks: "duration", or "frame" and "fps".

    Returns:
      A mapping from name to video, in the order of the file.

    Raises:
      UserError: the file is missing or not of this form; the message lists the problems of all videos.
    """
    path = Path(path)
    try:
        status = path.stat()
        changed = status.st_size, status.st_mtime_ns
    except OSError:  # told when the file is read
        changed = 0, 0
    known = tuple((name, length.duration, length.frames, length.fps) for name, length in lengths.items())
    videos, kind, warnings = _load(path, changed, fixed_fps, with_frames, with_duration, known)
    segments = sum(len(video.labels) for video in videos.values())
    _logger.info("%s: read as %s, %d segments of %d videos", path, kind, segments, len(videos))
    for warning in warnings:
        _logger.warning("%s: %s", path, warning)
    return dict(videos)


@lru_cache(maxsize=4)
def _load(
    path: Path,
    changed: tuple[int, int],
    fixed_fps: float | None,
    with_frames: bool,
    with_duration: bool,
    lengths: tuple[tuple[str, float, int, float], ...],
) -> tuple[dict[str, Video], str, tuple[str, ...]]:
    """Reads the videos of a file, its kind and what is odd; of an unchanged file (size, time of change) once."""
    content, repeated = open_source(path).whole_json
    database = dict(by_video(content, path))  # the file's own stays as it is
    for name, duration, frames, fps in lengths:
        database[name] = _filled(database[name], duration, frames, fps)
    problems = [f'key "{key}" occurs more than once in one JSON object' for key in repeated]
    left_out: list[str] = []
    found = {
        name: _video(name, entry, fixed_fps, with_frames, with_duration, problems, left_out)
        for name, entry in database.items()
    }
    videos = {name: video for name, video in found.items() if video is not None}
    silent = Counter(entry["subset"] for entry in database.values() if _is_silent(entry))
    if silent.total() == len(database):
        problems.append('no video has "annotations", the list of its segments')
    if problems:
        raise UserError(f"{path}: {len(problems)} problem(s) to correct in the annotations:{listed(problems)}")
    warnings = []
    if silent:
        where = ", ".join(f'{count} of subset "{subset}"' for subset, count in silent.items())
        warnings.append(f'videos without "annotations" are taken to have no segments: {where}')
    if left_out:
        warnings.append(f"{len(left_out)} segments end before they start, left out:{listed(left_out)}")
    outside = [
        f'video "{name}" of {video.duration:g} seconds: {segment}'
        for name, video in videos.items()
        for segment in video.segments.tolist()
        if segment[0] >= video.duration or segment[1] < 0
    ]
    if outside:
        warnings.append(f"{len(outside)} segments lie outside their video:{listed(outside)}")
    return videos, kind_of(content, database), tuple(warnings)


def select_subset(
    videos: Mapping[str, InSubsetT], subset: str, path: str | Path, remedy: str | None = None
) -> dict[str, InSubsetT]:
    """Returns the videos of one subset.

    Args:
      videos: the videos of the file or folder at `path`.
      subset: name of the subset, spelled exactly as there.
      path: what the subsets are from, for the message.
      remedy: what the message advises if no video is in the subset; by default, to set the configuration's subsets.

    Raises:
      UserError: no video is in the subset; the message lists those that there are.
    """
    chosen = {name: video for name, video in videos.items() if video.subset == normal(subset)}
    if not chosen:
        found = Counter(video.subset for video in videos.values())
        names = ", ".join(f'"{name}" ({count} videos)' for name, count in sorted(found.items()))
        # The usual choice: training and validation where there is testing too; Validation and Test where there are two.
        order = [name for kind in ("train", "val", "test") for name in sorted(found) if name.lower().startswith(kind)]
        train, test, *_ = *order, "NAME", "NAME"
        raise UserError(
            f'{path}: no video of subset "{subset}"; there are {names}, and a name must match exactly: '
            + (remedy or f"set --config.data.train_subset={train} --config.data.test_subset={test}")
        )
    return chosen


def read_classes(path: str | Path) -> tuple[str, ...]:
    """Reads class names from a text file, one per line; blank lines are ignored.

    Returns:
      K class names, in the order of the file.

    Raises:
      UserError: the file is missing, empty, or names a class more than once.
    """
    path = Path(path)
    names = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not names:
        raise UserError(f"{path}: the class list is empty; expected one label per line")
    repeated = [f'"{name}"' for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise UserError(f"{path}: listed more than once: {', '.join(repeated)}; keep each label once")
    return tuple(names)


def classes_of(videos: Mapping[str, Video]) -> tuple[str, ...]:
    """Returns the sorted labels of all segments (the release's rule, given the videos of all subsets)."""
    return tuple(sorted({label for video in videos.values() for label in video.labels}))


def check_labels(
    videos: Mapping[str, Video], classes: Sequence[str], ignore_labels: Iterable[str], path: str | Path
) -> None:
    """Checks that every label is a class or ignored.

    Args:
      videos: the videos whose labels are checked.
      classes: class names.
      ignore_labels: labels whose segments are skipped.
      path: the annotation file, for the message.

    Raises:
      UserError: some labels are neither; the message lists each with its number of segments.
    """
    known = {*classes, *ignore_labels}
    unknown = Counter(label for video in videos.values() for label in video.labels if label not in known)
    if unknown:
        listed = ", ".join(f'"{label}" ({count} segments)' for label, count in sorted(unknown.items()))
        raise UserError(
            f"{path}: labels that are neither in the class list ({len(classes)} classes) nor ignored: {listed}; "
            f"add them to the class list or to the ignored labels"
        )


def without_classes(video: Video, ignore_labels: Iterable[str]) -> Video:
    """Returns the video as a class-agnostic model sees it: every label except the ignored ones becomes `ACTION`.

    Equal segments with different labels become duplicates, of which the ground truth keeps one. The model learns the
    same from one as from several: all of them assign the same class and the same boundaries to a point.
    """
    ignored = set(ignore_labels)
    return replace(video, labels=tuple(label if label in ignored else ACTION for label in video.labels))


def _filled(entry: dict[str, Any], duration: float, frames: int, fps: float) -> dict[str, Any]:
    """Returns an entry with what it lacks of its video's length, as far as that is known."""
    if "duration" not in entry and frames:
        return {**entry, "duration": duration, "frame": frames}
    # The annotated duration may be rounded; the rate of the file turns its seconds into frames of the file.
    return entry if {"frame", "fps"} & set(entry) else {**entry, "fps": fps}


def _is_silent(entry: Any) -> bool:
    """Returns whether an otherwise valid annotation lacks "annotations"."""
    return isinstance(entry, dict) and isinstance(entry.get("subset"), str) and "annotations" not in entry


def _video(
    name: str,
    values: Any,
    fixed_fps: float | None,
    with_frames: bool,
    with_duration: bool,
    problems: list[str],
    left_out: list[str],
) -> Video | None:
    """Returns one video, or None after adding what is wrong to `problems`; adds reversed segments to `left_out`."""
    before = len(problems)
    entry = entry_of(name, values, problems)
    if entry is None:
        return None
    if not isinstance(values.get("subset"), str):
        entry.wrong("subset", values.get("subset"), "a name")
    duration = entry.positive("duration") if with_duration or "duration" in values else math.nan
    frames = _frame_count(entry, duration, fixed_fps) if with_frames else 0  # a count in the file may even be wrong
    segments, labels = entry.labelled_segments(left_out)
    if len(problems) > before:
        return None
    return Video(
        name=name,
        subset=values["subset"],
        duration=duration,
        frames=frames,
        segments=np.array(segments, np.float64).reshape(-1, 2),
        labels=tuple(labels),
        fixed_fps=fixed_fps,
    )


def _frame_count(entry: VideoEntry, duration: float, fixed_fps: float | None) -> int:
    """Returns the number of source frames; any number after adding what is wrong to the problems."""
    values = entry.values
    if fixed_fps is not None:
        frames = duration * fixed_fps
    elif "frame" in values:
        frames = entry.positive("frame")
        if frames % 1 > 0:
            entry.wrong("frame", values["frame"], "a whole number of frames")
    elif "fps" in values:
        frames = duration * entry.positive("fps")
    else:
        entry.problems.append(
            f'video "{entry.name}": neither "frame" (the number of frames) nor "fps" is given; add one, or set '
            "--config.data.fps to the rate that all videos have"
        )
        return 0
    if frames < 1:
        entry.problems.append(
            f'video "{entry.name}": less than one frame in {duration} seconds; correct "frame" or "fps"'
        )
    return 0 if math.isnan(frames) else int(frames)
