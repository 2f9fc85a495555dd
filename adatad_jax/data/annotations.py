"""Annotations: an ActivityNet-style JSON file to videos, subsets and class lists."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adatad_jax.errors import UserError

PROBLEMS_SHOWN = 20
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Video:
    """One annotated video.

    Attributes:
      name: its key in the annotation file.
      subset: the subset it belongs to, spelled as in the file.
      duration: seconds.
      frames: source frames; 0 where the file does not say (see `load_annotations`).
      segments: [G, 2] float64, start and end in seconds, in the order of the file.
      labels: one per segment.
      fixed_fps: the frame rate that positions refer to, for data sets defined at a nominal one (EPIC-Kitchens and
        Charades: 30); None derives it from frames and duration.
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
        """Frames a second, as positions are converted back to seconds."""
        return self.frames / self.duration if self.fixed_fps is None else self.fixed_fps


def load_annotations(
    path: str | Path, *, fixed_fps: float | None = None, frames_required: bool = True
) -> dict[str, Video]:
    """Read `{"database": {name: {"subset", "duration", "frame" or "fps", "annotations": [{"segment", "label"}]}}}`.

    The frame count is `int(duration * fixed_fps)` if `fixed_fps` is given, else "frame", else `int(duration * fps)`
    with the video's own "fps". Numbers may be given as strings. A segment that ends before it starts (Multi-THUMOS has
    30) could be neither learned nor matched: it is left out, and a warning logs how many and where. One that lies
    outside its video stays (release rule), with a warning.

    Args:
      path: the JSON file.
      fixed_fps: see `Video.fixed_fps`.
      frames_required: whether a video without a frame count is a problem; sampling by `resize` needs none.

    Raises:
      UserError: the file is missing or not of this form; all problems of the file are listed together.
    """
    path = Path(path)
    repeated: list[str] = []
    content = _read_json(path, repeated)
    database = content.get("database") if isinstance(content, dict) else None
    if not isinstance(database, dict) or not database:
        found = f"the keys {sorted(content)[:10]}" if isinstance(content, dict) else f"a {type(content).__name__}"
        raise UserError(
            f'{path}: expected a JSON object with a non-empty object "database" (video name -> annotation), '
            f"found {found}; convert the file to that form"
        )
    problems = [f'key "{key}" occurs more than once in one JSON object' for key in repeated]
    left_out: list[str] = []
    videos = {
        name: _video(name, entry, fixed_fps, frames_required, problems, left_out) for name, entry in database.items()
    }
    if problems:
        raise UserError(f"{path}: {len(problems)} problem(s) to correct in the annotations:{_listed(problems)}")
    if left_out:
        _logger.warning("%s: %d segments end before they start, left out:%s", path, len(left_out), _listed(left_out))
    outside = [
        f'video "{name}" of {video.duration:g} seconds: {segment}'
        for name, video in videos.items()
        if video is not None
        for segment in video.segments.tolist()
        if segment[0] >= video.duration or segment[1] < 0
    ]
    if outside:
        _logger.warning("%s: %d segments lie outside their video:%s", path, len(outside), _listed(outside))
    return {name: video for name, video in videos.items() if video is not None}


def select_subset(videos: Mapping[str, Video], subset: str, path: str | Path) -> dict[str, Video]:
    """The videos whose subset is exactly `subset`.

    Raises:
      UserError: there is none; the message lists the subsets of the file.
    """
    chosen = {name: video for name, video in videos.items() if video.subset == subset}
    if not chosen:
        found = Counter(video.subset for video in videos.values())
        listed = ", ".join(f'"{name}" ({count} videos)' for name, count in sorted(found.items()))
        raise UserError(f'{path}: no video of subset "{subset}"; the file has {listed} (the name must match exactly)')
    return chosen


def read_classes(path: str | Path) -> tuple[str, ...]:
    """Class names from a text file, one a line; blank lines are ignored.

    Raises:
      UserError: the file is missing, empty, or names a class twice.
    """
    path = Path(path)
    names = [line.strip() for line in _read_text(path).splitlines() if line.strip()]
    if not names:
        raise UserError(f"{path}: the class list is empty; expected one label a line")
    repeated = [f'"{name}"' for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise UserError(f"{path}: listed more than once: {', '.join(repeated)}; keep each label once")
    return tuple(names)


def classes_of(videos: Mapping[str, Video]) -> tuple[str, ...]:
    """The sorted labels of all segments (release rule: give it the videos of all subsets)."""
    return tuple(sorted({label for video in videos.values() for label in video.labels}))


def check_labels(
    videos: Mapping[str, Video], classes: Sequence[str], ignore_labels: Iterable[str], path: str | Path
) -> None:
    """Check that every label of `videos` is a class or ignored.

    Raises:
      UserError: some are neither; all of them are listed with their number of segments.
    """
    known = {*classes, *ignore_labels}
    unknown = Counter(label for video in videos.values() for label in video.labels if label not in known)
    if unknown:
        listed = ", ".join(f'"{label}" ({count} segments)' for label, count in sorted(unknown.items()))
        raise UserError(
            f"{path}: labels that are neither in the class list ({len(classes)} classes) nor ignored: {listed}; "
            f"add them to the class list or to the ignored labels"
        )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a UTF-8 text file ({error})") from None


def _read_json(path: Path, repeated: list[str]) -> Any:
    """The parsed file; names that one object holds twice (JSON readers silently take the last) go to `repeated`."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(pairs)
        if len(mapping) < len(pairs):
            repeated.extend(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        return mapping

    try:
        return json.loads(_read_text(path), object_pairs_hook=unique)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{path}: not a JSON file ({error}); expected ActivityNet-style annotations") from None


def _number(value: Any) -> float | None:
    """A finite number, given as such or as a string; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _span(value: Any) -> tuple[float, float] | None:
    """Two finite numbers, or None."""
    ends = [_number(end) for end in value] if isinstance(value, list) else []
    if len(ends) != 2 or ends[0] is None or ends[1] is None:
        return None
    return ends[0], ends[1]


def _video(
    name: str,
    entry: Any,
    fixed_fps: float | None,
    frames_required: bool,
    problems: list[str],
    left_out: list[str],
) -> Video | None:
    """One video, or None with `problems` telling what is wrong with it; reversed segments go to `left_out`."""
    before = len(problems)

    def wrong(key: str, value: Any, expected: str) -> None:
        problems.append(f'video "{name}": "{key}" is {_short(value)}, expected {expected}')

    def positive(key: str) -> float:
        number = _number(entry.get(key))
        if number is None or number <= 0:
            wrong(key, entry.get(key), "a number above 0")
            return math.nan
        return number

    if not isinstance(entry, dict):
        problems.append(f'video "{name}": expected an object, found {_short(entry)}')
        return None
    if not isinstance(entry.get("subset"), str):
        wrong("subset", entry.get("subset"), "a name")
    duration = positive("duration")

    frames: float | None = None
    if fixed_fps is not None:
        frames = duration * fixed_fps
    elif "frame" in entry:
        frames = positive("frame")
        if frames % 1 > 0:
            wrong("frame", entry["frame"], "a whole number of frames")
    elif "fps" in entry:
        frames = duration * positive("fps")
    elif frames_required:
        problems.append(f'video "{name}": neither "frame" (the number of frames) nor "fps" is given; add one of them')
    if frames is not None and frames < 1:
        problems.append(f'video "{name}": less than one frame in {duration} seconds; correct "frame" or "fps"')

    annotations = entry.get("annotations")
    if not isinstance(annotations, list):
        wrong("annotations", annotations, "a list (empty for a video without segments)")
        annotations = []
    segments: list[tuple[float, float]] = []
    labels: list[str] = []
    for number, annotation in enumerate(annotations):
        where = f"annotations[{number}]"
        if not isinstance(annotation, dict):
            wrong(where, annotation, 'an object with "segment" and "label"')
            continue
        segment, label = _span(annotation.get("segment")), annotation.get("label")
        if segment is None:
            wrong(f"{where}.segment", annotation.get("segment"), "[start, end] in seconds")
        elif not isinstance(label, str) or not label:
            wrong(f"{where}.label", label, "a class name")
        elif segment[0] > segment[1]:
            left_out.append(f'video "{name}": "{where}.segment" is {list(segment)}')
        else:
            segments.append(segment)
            labels.append(label)

    if len(problems) > before:
        return None
    return Video(
        name=name,
        subset=entry["subset"],
        duration=duration,
        frames=int(frames or 0),
        segments=np.array(segments, np.float64).reshape(-1, 2),
        labels=tuple(labels),
        fixed_fps=fixed_fps,
    )


def _listed(lines: list[str]) -> str:
    rest = [f"... and {len(lines) - PROBLEMS_SHOWN} more"] if len(lines) > PROBLEMS_SHOWN else []
    return "".join(f"\n  - {line}" for line in (*lines[:PROBLEMS_SHOWN], *rest))


def _short(value: Any) -> str:
    if value is None:
        return "missing"
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
