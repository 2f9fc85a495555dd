"""The forms in which tools write detections, each parsed into the same rows.

| form | recognised by | what is read |
|---|---|---|
| ActivityNet results | key `results` | video -> list of `segment`, `label`, `score` |
| Ego4D Moments Queries submission | key `detect_results` | the same under that key; `retrieve_results` is not used |
| EPIC-Kitchens submission | detections with `verb`, `noun` or `action` and no `label` | one of the three, as chosen |
| columns in JSON | lists under names of columns | one detection per place |
| table | any other text | one detection per line |

Columns are video, start, end, label and score. ActionFormer's names for them (`video-id`, `t-start`, `t-end`) are read
too. A table is separated by commas, semicolons or tabs. Where no comma separates, it may be the decimal point.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from adatad_jax.annotations.records import finite_number
from adatad_jax.annotations.text import parse_json, read_text
from adatad_jax.errors import UserError, few
from adatad_jax.evaluation.results_labels import Label

COLUMNS = ("video", "start", "end", "label", "score")
TASKS = ("verb", "noun", "action")  # what an EPIC-Kitchens submission labels
FORMAT = (
    'the ActivityNet results format, {"results": {video: [{"segment": [start, end], "label": name, "score": number}]}}'
)
EXPECTED = f"{FORMAT}, or a table {','.join(COLUMNS)} (.csv)"
EGO4D, EGO4D_RECALL = "detect_results", "retrieve_results"
_OTHER_NAMES = {"video-id": "video", "video_id": "video", "t-start": "start", "t-end": "end"} | {
    "t_start": "start",
    "t_end": "end",
}
_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+(?:[eE][-+]?\d+)?")


class ResultRow(NamedTuple):
    """A detection as a results file gives it, with start and end in seconds.

    Attributes:
      video, start, end, score: of the detection.
      label: a class name, or a whole number.
    """

    video: str
    start: float
    end: float
    label: Label
    score: float


class Parsed(NamedTuple):
    """What a results file holds.

    Attributes:
      videos: names of the videos, including those without a detection.
      rows: the detections.
      problems: a line for each entry that is no detection.
      notes: remarks on what was read.
      is_submission: whether the file is an EPIC-Kitchens submission, so that its labels are those of a task.
    """

    videos: list[str]
    rows: list[ResultRow]
    problems: list[str]
    notes: tuple[str, ...] = ()
    is_submission: bool = False


def parse_results(path: Path, task: str = "") -> Parsed:
    """Parses a file of text in any of the forms of the module's docstring.

    Args:
      path: the file.
      task: what to take as label in an EPIC-Kitchens submission, one of `TASKS`; of no effect in other files.

    Raises:
      UserError: the file does not exist or has another form, or is a submission and no task is given.
    """
    text = read_text(path)
    begins = text.lstrip()[:1]
    if path.suffix.lower() != ".json" and begins not in ("{", "["):
        return _parse_table(path, text)
    content, repeated = parse_json(text, path, EXPECTED)
    # The entries under all but the last occurrence of a name would be lost.
    problems = [f'"{name}" occurs more than once in one JSON object; put its entries together' for name in repeated]
    if not isinstance(content, dict):
        raise _other_form(path, _kind(content))
    if "results" not in content and EGO4D not in content and (columns := _columns(content)):
        return _parse_columns(path, columns, problems)
    results = content.get("results", content.get(EGO4D))
    if not isinstance(results, dict):
        raise _other_form(path, f"an object with keys {sorted(content)[:5]}")
    parsed = _parse_videos(path, results, task, problems)
    if "results" not in content and EGO4D_RECALL in content:
        note = f"an Ego4D submission: {EGO4D} are measured, the recall too; {EGO4D_RECALL} are not used"
        return parsed._replace(notes=(note,))
    return parsed


def _other_form(path: Path, found: str) -> UserError:
    return UserError(f"{path}: found {found}, expected {EXPECTED}; convert the file")


def _parse_videos(path: Path, results: Mapping[str, Any], task: str, problems: list[str]) -> Parsed:
    """Parses a mapping from video to list of detections."""
    entries = [entry for own in results.values() if isinstance(own, list) for entry in own if isinstance(entry, dict)]
    is_submission = any("label" not in entry and any(name in entry for name in TASKS) for entry in entries)
    if is_submission and not task:
        raise UserError(
            f"{path}: an EPIC-Kitchens submission, whose detections have a verb, a noun and an action, but no label: "
            "choose what to measure, --task verb, --task noun or --task action, with annotations of the same"
        )
    rows = []
    for video, own in results.items():
        if not isinstance(own, list):
            problems.append(f'"{video}": found {_kind(own)}, expected a list of detections')
            continue
        for number, entry in enumerate(own):
            segment = entry.get("segment") if isinstance(entry, dict) else None
            where = f'"{video}"[{number}]'
            if not isinstance(segment, list) or len(segment) != 2:
                problems.append(f"{where}: found {str(entry)[:100]}")
                continue
            label = entry.get(task if is_submission else "label")
            if row := _row(where, (video, *segment, label, entry.get("score")), problems):
                rows.append(row)
    return Parsed(list(results), rows, problems, is_submission=is_submission)


def _columns(content: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Returns the lists under names of columns, by our names; empty if one of `COLUMNS` is missing or given twice."""
    named = [(_OTHER_NAMES.get(key, key), values) for key, values in content.items() if isinstance(values, list)]
    found = {name: values for name, values in named if name in COLUMNS}
    return found if len(found) == len(COLUMNS) == sum(name in COLUMNS for name, _ in named) else {}


def _parse_columns(path: Path, columns: Mapping[str, list[Any]], problems: list[str]) -> Parsed:
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise UserError(
            f"{path}: its columns differ in length ("
            + ", ".join(f"{name} {length}" for name, length in lengths.items())
            + "); expected one value of each per detection: write the file anew"
        )
    places = zip(*(columns[name] for name in COLUMNS), strict=True)
    rows = [row for number, values in enumerate(places) if (row := _row(f"place {number}", values, problems))]
    return Parsed(list(dict.fromkeys(row.video for row in rows)), rows, problems)


def _parse_table(path: Path, text: str) -> Parsed:
    separator = _separator(text)
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
    rows: list[ResultRow] = []
    problems: list[str] = []
    try:
        header = _header(next(reader, []))
        if not set(COLUMNS) <= set(header) or len(set(header)) < len(header):
            raise UserError(
                f"{path}: line 1: expected the column names {','.join(COLUMNS)} in any order, each once and "
                f"separated by commas, semicolons or tabs; found {','.join(header)[:200] or 'nothing'}"
            )
        for values in reader:
            fields = dict(zip(header, (value.strip() for value in values), strict=False))
            where = f"line {reader.line_num}"
            if not any(fields.values()):
                continue
            if len(values) != len(header):
                problems.append(
                    f"{where}: {len(values)} values, expected {len(header)}; a value with a separator needs quotes"
                )
            elif row := _row(where, [_pointed(fields, column, separator) for column in COLUMNS], problems):
                rows.append(row)
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: not a table ({error}); write the file anew") from None
    return Parsed(list(dict.fromkeys(row.video for row in rows)), rows, problems)


def _separator(text: str) -> str:
    """Returns the separator whose header has the most of the columns; a comma if none has any."""
    first = next(iter(text.splitlines()), "")
    return max(",;\t", key=lambda mark: len(set(COLUMNS) & set(_header(first.split(mark)))))


def _header(names: Sequence[str]) -> list[str]:
    """Returns the names of columns as ours."""
    plain = [name.strip().strip('"').lower() for name in names]
    return [_OTHER_NAMES.get(name, name) for name in plain]


def _pointed(fields: Mapping[str, str], column: str, separator: str) -> str:
    """Returns a value of a table, with a point in place of a decimal comma."""
    text = fields[column]
    is_number = column in ("start", "end", "score") and separator != "," and _DECIMAL_COMMA.fullmatch(text)
    return text.replace(",", ".") if is_number else text


def _row(where: str, values: Sequence[Any], problems: list[str]) -> ResultRow | None:
    """Returns the detection with the values of `COLUMNS`, or None after adding a line to `problems`."""
    video, start, end, given, score = values
    first, last, value, label = finite_number(start), finite_number(end), finite_number(score), _label(given)
    if not isinstance(video, str) or not video or first is None or last is None or label is None or value is None:
        shown = f"video {video!r}, segment [{start!r}, {end!r}], label {given!r}, score {score!r}"
        problems.append(f"{where}: {shown}"[:200])
        return None
    return ResultRow(video, first, last, label, value)


def _label(given: Any) -> Label | None:
    """Returns a name, or a whole number as an int; None for anything else."""
    if isinstance(given, str):
        return given or None
    if isinstance(given, bool) or not isinstance(given, int | float) or given != given or abs(given) == float("inf"):
        return None
    return int(given) if given == int(given) else None


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"


def no_detections(parsed: Parsed, path: Path) -> UserError:
    """Returns the error that says why a file without a single detection has none."""
    if not parsed.problems:
        videos = f"{len(parsed.videos)} videos" + (f": {few(parsed.videos)}" if parsed.videos else "")
        return UserError(f"{path}: no detection in it ({videos}); expected at least one: check what wrote the file")
    return UserError(
        f"{path}: none of its {len(parsed.problems)} entries is a detection, expected in each a video, a start and an "
        "end in seconds, a label (a class name or its number), and a score, all numbers finite; compare them with "
        f"{FORMAT}"
    )
