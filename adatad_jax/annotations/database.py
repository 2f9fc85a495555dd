"""ActivityNet-style JSON: videos by name, each with its subset, its length and its segments."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adatad_jax.annotations.records import Found, Row, finite_number
from adatad_jax.annotations.source import Source
from adatad_jax.annotations.text import read_text
from adatad_jax.errors import UserError, listed

# BMN's ActivityNet file is a JSON object keyed by video name. It names durations and frame counts like this, and a
# table beside it holds the subsets.
BMN_NAMES = {"duration_second": "duration", "duration_frame": "frame"}
BMN_TABLE = "video_info_new.csv"


def fits(source: Source) -> bool:
    """Tells whether the file is an object with a "database", or BMN's object of videos."""
    content = source.json
    return isinstance(content, dict) and (isinstance(content.get("database"), dict) or is_bare(content))


def is_bare(content: Mapping[str, Any]) -> bool:
    """Tells whether an object is keyed by video, without a "database" around it."""
    entries = content.values()
    return all(isinstance(entry, dict) for entry in entries) and any("annotations" in entry for entry in entries)


def read(source: Source, found: Found) -> None:
    """Reads the segments of every video, and its length where it is given.

    Raises:
      UserError: the file is not JSON of this form.
    """
    content, repeated = source.whole_json
    found.problems += [f'key "{key}" occurs more than once in one JSON object' for key in repeated]
    database = by_video(content, source.path)
    found.name = kind_of(content, database)
    reversed_: list[str] = []
    empty: list[str] = []
    for name, values in database.items():
        entry = entry_of(name, values, found.problems)
        if entry is None:
            continue
        subset = str(values.get("subset") or "")
        duration, frames, fps = (finite_number(values.get(key)) for key in ("duration", "frame", "fps"))
        if not fps and frames and duration:
            fps = frames / duration
        found.know(name, duration=duration, frames=frames, fps=fps)
        segments, labels = entry.labelled_segments(reversed_)
        if not segments:
            found.add_bare(f'video "{name}"', name, subset)
        for segment, label in zip(segments, labels, strict=True):
            where = f'video "{name}", {segment[0]:g} to {segment[1]:g} s'
            if segment[0] == segment[1] and not found.options.point_seconds:
                empty.append(where)
            else:
                found.rows.append(Row(where, name, segment, label, subset))
    for lines, what in ((reversed_, "end before they start"), (empty, "have no length")):
        if lines:
            found.notes.append(f"{len(lines)} segments {what}, left out:{listed(lines)}")


def kind_of(content: Mapping[str, Any], database: Mapping[str, Any]) -> str:
    """Returns what to call the file: the data set that writes this form, where it shows, or the form."""
    keys = {key for entry in database.values() if isinstance(entry, dict) for key in entry}
    version = str(content.get("version", "")).lower() if "database" in content else ""
    if "fineaction" in version or "filename" in keys:
        return "FineAction JSON"
    if "hacs" in version or ("url" in keys and "resolution" not in keys and "taxonomy" not in content):
        return "HACS JSON"
    if "taxonomy" in content:
        return "ActivityNet JSON"
    return "ActivityNet-style JSON" if "database" in content else "BMN's ActivityNet JSON"


@dataclass
class VideoEntry:
    """One video's entry of the file while it is read, and where to put what is wrong with it.

    Attributes:
      name: of the video.
      values: the entry.
      problems: receives a message for each wrong value.
    """

    name: str
    values: Mapping[str, Any]
    problems: list[str]

    def wrong(self, key: str, value: Any, expected: str) -> None:
        """Adds a message on the value of a key."""
        self.problems.append(f'video "{self.name}": "{key}" is {_short(value)}, expected {expected}')

    def positive(self, key: str) -> float:
        """Returns a number above 0; NaN, after adding to the problems, where there is none."""
        number = finite_number(self.values.get(key))
        if number is None or number <= 0:
            self.wrong(key, self.values.get(key), "a number above 0")
            return math.nan
        return number

    def labelled_segments(self, left_out: list[str]) -> tuple[list[tuple[float, float]], list[str]]:
        """Returns the segments in seconds and their labels, without the reversed ones, which go to `left_out`."""
        annotations = self.values.get("annotations", [])
        if not isinstance(annotations, list):
            self.wrong("annotations", annotations, "a list (empty for a video without segments)")
            annotations = []
        segments: list[tuple[float, float]] = []
        labels: list[str] = []
        for number, annotation in enumerate(annotations):
            where = f"annotations[{number}]"
            if not isinstance(annotation, dict):
                self.wrong(where, annotation, 'an object with "segment" and "label"')
                continue
            segment, label = _span(annotation.get("segment")), annotation.get("label")
            if segment is None:
                self.wrong(f"{where}.segment", annotation.get("segment"), "[start, end] in seconds")
            elif not isinstance(label, str) or not label:
                self.wrong(f"{where}.label", label, "a class name")
            elif segment[0] > segment[1]:
                left_out.append(f'video "{self.name}": "{where}.segment" is {list(segment)}')
            else:
                segments.append(segment)
                labels.append(label)
        return segments, labels


def entry_of(name: str, values: Any, problems: list[str]) -> VideoEntry | None:
    """Returns the entry of a video; None, after adding to the problems, if it is no object."""
    if isinstance(values, dict):
        return VideoEntry(name, values, problems)
    problems.append(f'video "{name}": expected an object, found {_short(values)}')
    return None


def by_video(content: Any, path: Path) -> dict[str, Any]:
    """Returns the mapping from video name to annotation: the object "database", or the content itself.

    The latter is the form of BMN's ActivityNet file. Its `duration_second` and `duration_frame` are renamed, and
    subsets are taken from `video_info_new.csv` beside the file.

    Args:
      content: the parsed file.
      path: the file, for messages, and to find the table of subsets.

    Raises:
      UserError: the content has neither form, or subsets are missing.
    """
    if isinstance(content, dict):
        database = content.get("database")
        if isinstance(database, dict) and database:
            return database
        if is_bare(content):
            renamed = {
                name: {BMN_NAMES.get(key, key): value for key, value in entry.items()}
                for name, entry in content.items()
            }
            return _with_subsets(renamed, path)
    found = f"the keys {sorted(content)[:10]}" if isinstance(content, dict) else f"a {type(content).__name__}"
    raise UserError(
        f'{path}: expected a JSON object with a non-empty object "database" (video name -> annotation), or that object '
        f"itself, found {found}; convert the file to that form"
    )


def _with_subsets(entries: dict[str, Any], path: Path) -> dict[str, Any]:
    """Returns the annotations with missing subsets taken from BMN's table beside the file."""
    lacking = sum("subset" not in entry for entry in entries.values())
    if not lacking:
        return entries
    table = path.with_name(BMN_TABLE)
    if not table.is_file():
        raise UserError(
            f'{path}: there is no object "database", so it was read as video name -> annotation, but {lacking} of '
            f'{len(entries)} videos have no "subset"; add one to each (such as "training" and "validation"), or put '
            f"BMN's {BMN_TABLE}, a table with the columns video and subset, beside the file"
        )
    reader = csv.DictReader(read_text(table).splitlines())
    if not {"video", "subset"} <= set(reader.fieldnames or ()):
        raise UserError(f"{table}: expected the columns video and subset, found {reader.fieldnames}")
    subsets = {row["video"]: {"subset": row["subset"]} for row in reader}
    return {name: {**subsets.get(name, {}), **entry} for name, entry in entries.items()}


def _span(value: Any) -> tuple[float, float] | None:
    """Returns a list of two finite numbers as (start, end); None for anything else."""
    ends = [finite_number(end) for end in value] if isinstance(value, list) else []
    if len(ends) != 2 or ends[0] is None or ends[1] is None:
        return None
    return ends[0], ends[1]


def _short(value: Any) -> str:
    """Returns a value as JSON of at most 80 characters, or "missing" for None."""
    if value is None:
        return "missing"
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
