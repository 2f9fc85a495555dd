"""Results files of this project or any other tool: the detections of each video.

Two forms are read. One is the ActivityNet results format:

    {"results": {"NAME": [{"segment": [1.2, 4.0], "label": "jump", "score": 0.9}]}}

The other is a table whose name ends in .csv, with the columns `video,start,end,label,score` in any order. Times are in
seconds, numbers may be strings, and other keys and columns are ignored.

A file with entries that are not detections is refused, and these are listed; none is left out. Detections that are odd
(reversed, outside their video, of an unknown label) are read, and `oddities.oddities` reports them.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from adatad_jax.annotations.records import finite_number
from adatad_jax.annotations.text import read_json, read_text
from adatad_jax.errors import UserError, listed
from adatad_jax.postprocessing.detections import Detections

COLUMNS = ("video", "start", "end", "label", "score")
FORMAT = (
    'the ActivityNet results format, {"results": {video: [{"segment": [start, end], "label": name, "score": number}]}}'
)
_TABLE = f"a table {','.join(COLUMNS)} whose name ends in .csv"


class DetectionRow(NamedTuple):
    """A detection as a results file gives it, with start and end in seconds."""

    video: str
    start: float
    end: float
    label: str
    score: float


def read_results(path: Path, classes: Iterable[str] = ()) -> tuple[dict[str, Detections], tuple[str, ...]]:
    """Reads the detections of a results file, in either form described in the module's docstring.

    Args:
      path: the file; one whose name ends in .csv is read as a table.
      classes: class names that labels are to index; labels missing from it are appended, so that nothing is lost.

    Returns:
      The detections of each video in the file's order, including videos without any; and the class names including
      those appended.

    Raises:
      UserError: the file does not exist, has another form or holds no detection; or entries of it are not detections,
        or have a number that is missing, NaN or infinite; or a JSON name occurs twice. All such entries are counted,
        and the first ones listed.
    """
    if path.is_dir():
        raise UserError(f"{path}: a folder, expected one results file, JSON or CSV; give the file itself")
    problems: list[str] = []
    read = _read_table if path.suffix.lower() == ".csv" else _read_object
    videos, rows = read(path, problems)
    if problems:
        raise UserError(
            f"{path}: {len(problems)} entries are no detections, expected a video, a start and an end in seconds, a "
            f"label, and a score, all numbers finite; write the file anew without them:{listed(problems)}"
        )
    if not rows:
        raise UserError(
            f"{path}: no detection in it ({len(videos)} videos); expected at least one: check what wrote the file"
        )
    return by_video(videos, rows, classes)


def by_video(
    videos: Iterable[str], rows: Sequence[DetectionRow], classes: Iterable[str]
) -> tuple[dict[str, Detections], tuple[str, ...]]:
    """Groups rows into the `Detections` of each video.

    Args:
      videos: names of the videos, including any without a row.
      rows: detections in the videos.
      classes: as in `read_results`.

    Returns:
      As `read_results`.
    """
    index = {name: k for k, name in enumerate(classes)}
    table: dict[str, list[tuple[float, float, float, int]]] = {video: [] for video in videos}
    for row in rows:
        table[row.video].append((row.start, row.end, row.score, index.setdefault(row.label, len(index))))
    columns = {video: np.array(own, np.float64).reshape(-1, 4) for video, own in table.items()}
    return {video: Detections(own[:, :2], own[:, 2], own[:, 3]) for video, own in columns.items()}, tuple(index)


def results_to_json(results: Mapping[str, Detections], classes: Sequence[str]) -> dict[str, Any]:
    """Returns detections in the ActivityNet results format; videos and detections keep their order.

    Args:
      results: detections of each video.
      classes: class names, indexed by the labels.
    """
    return {
        "version": "VERSION 1.3",
        "results": {
            video: [
                {"segment": segment, "label": classes[label], "score": score}
                for segment, score, label in zip(d.segments.tolist(), d.scores.tolist(), d.labels.tolist(), strict=True)
            ]
            for video, d in results.items()
        },
        "external_data": {},
    }


def _read_object(path: Path, problems: list[str]) -> tuple[list[str], list[DetectionRow]]:
    content, repeated = read_json(path, f"{FORMAT}, or {_TABLE}")
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict):
        found = f"an object with keys {sorted(content)[:5]}" if isinstance(content, dict) else _kind(content)
        raise UserError(f"{path}: found {found}, expected {FORMAT}, or {_TABLE}; convert the file")
    # The entries under all but the last occurrence of a name would be lost.
    problems += [f'"{name}" occurs more than once in one JSON object; put its entries together' for name in repeated]
    rows = []
    for video, entries in results.items():
        if not isinstance(entries, list):
            problems.append(f'"{video}": found {_kind(entries)}, expected a list of detections')
            continue
        for number, entry in enumerate(entries):
            segment = entry.get("segment") if isinstance(entry, dict) else None
            if not isinstance(segment, list) or len(segment) != 2:
                problems.append(f'"{video}"[{number}]: found {str(entry)[:100]}')
            elif row := _row(
                f'"{video}"[{number}]', (video, *segment, entry.get("label"), entry.get("score")), problems
            ):
                rows.append(row)
    return list(results), rows


def _read_table(path: Path, problems: list[str]) -> tuple[list[str], list[DetectionRow]]:
    reader = csv.reader(io.StringIO(read_text(path)), strict=True)
    rows = []
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if not set(COLUMNS) <= set(header) or len(set(header)) < len(header):
            raise UserError(
                f"{path}: line 1: expected the column names {','.join(COLUMNS)} in any order, each once and "
                f"separated by commas; found {','.join(header)[:200] or 'nothing'}"
            )
        for values in reader:
            fields = dict(zip(header, (value.strip() for value in values), strict=False))
            where = f"line {reader.line_num}"
            if not any(fields.values()):
                continue
            if len(values) != len(header):
                problems.append(
                    f"{where}: {len(values)} values, expected {len(header)}; a value with a comma needs quotes"
                )
            elif row := _row(where, [fields[column] for column in COLUMNS], problems):
                rows.append(row)
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: not a table ({error}); write the file anew") from None
    return list(dict.fromkeys(row.video for row in rows)), rows


def _row(where: str, values: Sequence[Any], problems: list[str]) -> DetectionRow | None:
    """Returns the detection with the values of `COLUMNS`, or None after adding a line to `problems`."""
    video, start, end, label, score = values
    first, last, value = finite_number(start), finite_number(end), finite_number(score)
    if video and isinstance(label, str) and label and first is not None and last is not None and value is not None:
        return DetectionRow(video, first, last, label, value)
    problems.append(f"{where}: video {video!r}, segment [{start!r}, {end!r}], label {label!r}, score {score!r}"[:200])
    return None


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"
