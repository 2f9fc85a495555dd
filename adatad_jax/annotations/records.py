"""What an annotation file holds, whatever tool wrote it: segments in rows, and the lengths of their videos."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adatad_jax.annotations.format_keys import AUTO
from adatad_jax.annotations.names import plain_name
from adatad_jax.annotations.times import parse_seconds
from adatad_jax.errors import UserError, listed

ROUNDED_BY = 1.0  # seconds; a segment may end this much after its video, as in tables of whole seconds


class Unit(Enum):
    """The unit of a segment's two ends.

    Attributes:
      SECONDS: from the first frame.
      FRAMES: numbers of frames of the file, from 0.
      STEPS: counts of a constant rate, as a browser counts frames: seconds times the rate.
    """

    SECONDS = "seconds"
    FRAMES = "frames"
    STEPS = "frames at a constant rate"


class Row(NamedTuple):
    """A segment of a video, or a video without segments.

    Attributes:
      where: its place in the file, such as "line 12", for messages.
      video: name as written: with or without extension, folders, or an address around it.
      segment: start and end in `unit`; None if the row names a video without segments. A point event has two equal
        ends.
      label: class name; empty if there is no segment.
      subset: name of the subset; empty if the file names none.
      unit: of the segment.
      score: of a detection; None for an annotation.
    """

    where: str
    video: str
    segment: tuple[float, float] | None
    label: str
    subset: str = ""
    unit: Unit = Unit.SECONDS
    score: float | None = None


class Length(NamedTuple):
    """Length of a video, as far as it is known.

    Attributes:
      duration: seconds; NaN if not known.
      frames: number of frames; 0 if not known.
      fps: frames per second, on average; NaN if not known.
      clock: [N + 1] float64 seconds from the first frame to each of the N frames of the file, and to the end of the
        last; None if not known. N differs from `frames` where a file of variable rate is read at a constant one.
    """

    duration: float = math.nan
    frames: int = 0
    fps: float = math.nan
    clock: NDArray[np.float64] | None = None


class Options(NamedTuple):
    """How to read an annotation file.

    Attributes:
      format: key of the format, or `AUTO`: recognised by the content.
      label_from: what of the file gives the labels, where a format has several; empty: its usual one.
      point_seconds: length of the segment that stands for a point event, around it; 0: point events are refused.
    """

    format: str = AUTO
    label_from: str = ""
    point_seconds: float = 0.0


@dataclass
class Found:
    """What a reader of a format finds, row by row.

    Attributes:
      path: the file, for messages that concern it as a whole.
      options: how to read it.
      rows: the rows that can be read, in the order of the file.
      problems: a message for each row that cannot be read; it names the place, what was found and what was expected.
      spoilt: problem -> the video as written whose row it is.
      notes: what was assumed or left out, with counts.
      lengths: video as written -> its length, where the file tells it.
      aliases: video as written -> other names that its file may have.
      name: what to call the format, where it has several kinds; empty: the name of the format.
    """

    path: Path
    options: Options
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    spoilt: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    lengths: dict[str, Length] = field(default_factory=dict)
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    name: str = ""

    def add(
        self,
        where: str,
        video: str,
        start: str | float | None,
        end: str | float | None,
        label: str,
        subset: str = "",
        unit: Unit = Unit.SECONDS,
        score: float | None = None,
    ) -> None:
        """Adds a row with a segment, or a message to the problems for each thing that is wrong with it.

        Args:
          where: its place in the file.
          video: name as written.
          start: in `unit`, or as text in seconds, such as "12.5", "0:12.5" or "0:00:12,5".
          end: the same.
          label: class name.
          subset: name of the subset, if the file has subsets.
          unit: of numbers.
          score: of a detection.
        """
        before = len(self.problems)
        if not video:
            self.wrong(f"{where}: the video is empty, expected the name of a file", video)
        if not label:
            self.wrong(f"{where}: the label is empty, expected the name of a class", video)
        ends = [_number(value) for value in (start, end)]
        for name, text, value in zip(("start", "end"), (start, end), ends, strict=True):
            if value is None:
                self.wrong(f'{where}: {name} is "{"" if text is None else text}", expected {_expected(unit)}', video)
        first, last = ends
        if first is None or last is None:
            return
        if first < 0:
            self.wrong(f"{where}: starts at {start} {_spoken(unit)}, expected at least 0", video)
        if last < first:
            self.wrong(f"{where}: ends at {end} {_spoken(unit)}, expected after its start at {start}", video)
        if len(self.problems) == before:
            self.rows.append(Row(where, video, (first, last), label, subset, unit, score))

    def add_bare(self, where: str, video: str, subset: str = "") -> None:
        """Adds a video without segments."""
        if video:
            self.rows.append(Row(where, video, None, "", subset))
        else:
            self.wrong(f"{where}: the video is empty, expected the name of a file")

    def drop_empty_detections(self) -> None:
        """Leaves out detections (rows with a score) that end where they start, with a note: they overlap nothing.

        A video that loses all its rows is one without segments.
        """
        empty = {
            id(row) for row in self.rows if row.score is not None and row.segment and row.segment[0] == row.segment[1]
        }
        if not empty:
            return
        kept = [row for row in self.rows if id(row) not in empty]
        left = {row.video for row in kept}
        for row in self.rows:
            if row.video not in left:
                left.add(row.video)
                kept.append(row._replace(segment=None, label="", score=None))
        self.rows = kept
        self.notes.append(f"{len(empty)} detections have no length, left out")

    def wrong(self, problem: str, video: str = "") -> None:
        """Adds a problem, and the video as written whose row it is, if that is known."""
        self.problems.append(problem)
        if video:
            self.spoilt[problem] = video

    def know(self, video: str, duration: Any = None, frames: Any = None, fps: Any = None) -> None:
        """Keeps what the file tells of a video's length; what is not a number above 0 is not known."""
        seconds, count, rate = (_positive(value) for value in (duration, frames, fps))
        if math.isfinite(seconds) or math.isfinite(rate):
            self.lengths[video] = Length(seconds, int(count) if math.isfinite(count) else 0, rate)


@dataclass(frozen=True)
class AnnotationFile:
    """A file of annotations that was read.

    Attributes:
      path: the file, or a folder of them.
      key: key of its format; empty for a folder with several formats.
      name: what its format is called.
      rows, problems, spoilt, notes, lengths, aliases: as in `Found`.
      point_seconds: as in `Options`.
    """

    path: Path
    key: str
    name: str
    rows: tuple[Row, ...]
    problems: tuple[str, ...]
    spoilt: Mapping[str, str]
    notes: tuple[str, ...]
    lengths: Mapping[str, Length]
    aliases: Mapping[str, tuple[str, ...]]
    point_seconds: float

    def summary(self) -> str:
        """Returns a line that names the file's format and what it holds."""
        segments = sum(row.segment is not None for row in self.rows)
        videos = len({row.video for row in self.rows})
        return f"{self.path}: read as {self.name}, {segments} segments of {videos} videos"

    def without_spoilt(self) -> AnnotationFile:
        """Returns the file without the videos that have a row which cannot be read; a note lists these rows.

        All segments of such a video go: where some are missing, the others would be learned, and the missing ones
        unlearned.
        """
        if not self.spoilt:
            return self
        videos = {plain_name(video) for video in self.spoilt.values()}
        note = f"{len(videos)} videos are left out, because rows of theirs cannot be read:{listed(list(self.spoilt))}"
        return replace(
            self,
            rows=tuple(row for row in self.rows if plain_name(row.video) not in videos),
            problems=tuple(problem for problem in self.problems if problem not in self.spoilt),
            spoilt={},
            notes=(*self.notes, note),
        )

    def check(self) -> None:
        """Raises `UserError` with all rows that could not be read, if there are any."""
        if self.problems:
            raise UserError(
                f"{self.path}: {len(self.problems)} problem(s) to correct (read as {self.name}):{listed(self.problems)}"
            )


def in_seconds(row: Row, length: Length, point_seconds: float) -> tuple[float, float]:
    """Returns a row's segment in seconds; a point event is widened to `point_seconds` around it, from 0 on.

    Args:
      row: a row with a segment.
      length: of its video: for `Unit.STEPS` the rate, for `Unit.FRAMES` the clock or, without one, the rate.
      point_seconds: as in `Options`.

    Raises:
      ValueError: the video's length does not tell what is needed; the text says what, for the end of a message.
    """
    assert row.segment is not None
    start, end = row.segment
    if row.unit is Unit.FRAMES and length.clock is not None:
        count = len(length.clock) - 1
        if end > count:
            raise ValueError(f"frame {end:g}, but the video has {count} frames")
        start, end = np.interp((start, end), np.arange(count + 1), length.clock).tolist()
    elif row.unit is not Unit.SECONDS:
        if not length.fps > 0:
            raise ValueError("counted in frames, and the frame rate is not known")
        start, end = start / length.fps, end / length.fps
    if start == end:
        start, end = max(0.0, start - point_seconds / 2), end + point_seconds / 2
    return start, end


def is_outside(row: Row, start: float, end: float, duration: float) -> bool:
    """Tells whether a segment lies outside its video.

    Args:
      row: the row of the segment. A point event that was widened may reach beyond the end.
      start, end: of the segment, as `in_seconds` gives them.
      duration: of the video, in seconds.
    """
    assert row.segment is not None
    is_point = row.segment[0] == row.segment[1]
    return start >= duration or (end > duration + ROUNDED_BY and not is_point)


def finite_number(value: Any) -> float | None:
    """Returns a number or a string as a finite float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _number(value: str | float | None) -> float | None:
    return parse_seconds(value) if isinstance(value, str) else finite_number(value)


def _positive(value: Any) -> float:
    number = parse_seconds(value) if isinstance(value, str) else finite_number(value)
    return number if number is not None and number > 0 else math.nan


def _spoken(unit: Unit) -> str:
    return "seconds" if unit is Unit.SECONDS else "frames"


def _expected(unit: Unit) -> str:
    return "seconds, such as 12.5 or 0:12.5" if unit is Unit.SECONDS else "a number of frames"
