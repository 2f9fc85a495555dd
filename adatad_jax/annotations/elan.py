"""ELAN's tab-separated text: one annotation per line, or one column per tier; with or without a header."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from adatad_jax.annotations.records import Found
from adatad_jax.annotations.source import Source, split
from adatad_jax.annotations.times import parse_seconds
from adatad_jax.errors import UserError

LABELS = ("value", "tier")
# The kinds of time that ELAN writes, as the header ends in any of its languages.
CLOCK, SECONDS, MILLISECONDS = "hh:mm:ss.ms", "ss.msec", "msec"
_HEADED = re.compile(r"- (hh:mm:ss\.ms|ss\.msec|msec)$", re.IGNORECASE)
_FORMS = {
    CLOCK: re.compile(r"\d+:\d\d:\d\d[.,]\d+"),
    SECONDS: re.compile(r"\d+[.,]\d+"),
    MILLISECONDS: re.compile(r"\d+"),
}
_TIMECODE = re.compile(r"\d+:\d\d:\d\d[:;]\d\d")  # of SMPTE; its last number counts frames
_AGREE = 0.002  # seconds by which a time may differ in its forms
_VIDEO_COLUMNS = ("file name", "file path", "file")
# What ELAN calls the columns in some of its languages; where the words are others, the order of the columns tells.
_DURATION = re.compile(
    r"dura|durée|dauer|duur|tijdsduur|varaktighet|längd|длительн|продолжит|長さ|持続|持续|持續|时长|時長|지속|길이"
)
_END = re.compile(r"\bend|\bfin\b|\bfinal|\bfim\b|\bfine\b|\beind|\bslut|конец|оконч|終了|结束|結束|끝|종료")
_ANNOTATION = (
    "annotation",
    "annotations",
    "annotatie",
    "anotación",
    "anotació",
    "anotação",
    "аннотация",
    "注釈",
    "注释",
)


def fits(source: Source) -> bool:
    """Tells whether the file is tab-separated, with ELAN's header, or with a begin and an end between two texts."""
    if source.text.lstrip().startswith(("{", "[", "<")):
        return False
    lines = _lines(source)
    if not lines:
        return False
    if headed := _headed(lines[0][1]):
        return len(headed) >= 2
    return "\t" in source.text and len(_times(lines)) >= 2


def read(source: Source, found: Found) -> None:
    """Reads annotations; the video is that of a column "File Name" or "File Path", else the one with the file's stem.

    Args:
      source: the file.
      found: receives the rows. Its option `label_from` chooses what labels are: value (the usual) or tier.

    Raises:
      UserError: `label_from` is something else, or the columns of the times or of the values cannot be told.
    """
    choice = found.options.label_from or "value"
    if choice not in LABELS:
        raise UserError(f"{source.path}: labels from {choice!r}: ELAN gives them from {' or '.join(LABELS)}")
    lines = _lines(source)
    headed = bool(lines) and bool(_headed(lines[0][1]))
    layout = _from_header(lines[0][1]) if headed else _guess(lines)
    if layout is None:
        raise UserError(
            f"{source.path}: cannot tell which columns hold begin and end; export begin and end time with column "
            "headers, as hh:mm:ss.ms, ss.msec or msec; if this is no text of ELAN, name its format with --format "
            "(config.data.format)"
        )
    if choice == "value" and not layout.values:
        raise UserError(
            f"{source.path}: no column holds annotations; export them, or take the tiers as labels with --label-from "
            "tier (config.data.label_from)"
        )
    found.notes += layout.notes
    videos = set()
    for number, values in lines[headed:]:
        where = f"line {number}"
        values = [*values, *[""] * (layout.width - len(values))]
        video = next((values[column] for column in layout.video if values[column]), source.path.stem)
        # A file path is that of the document (.eaf), which has the name of the video.
        video = video.replace("\\", "/")
        video = str(PurePosixPath(video).with_suffix("")) if video.lower().endswith(".eaf") else video
        videos.add(video)
        times = {name: _time(values[column], form) for name, (column, form) in layout.times.items()}
        if None in times.values():
            for name, (column, form) in layout.times.items():
                if times[name] is None:
                    found.wrong(f'{where}: {name} is "{values[column]}", expected a time as {form}', video)
            continue
        start = times["start"] or 0.0
        end = times.get("end", round(start + (times.get("duration") or 0.0), 6))
        for label in _labels(values, layout, choice) or [""]:
            found.add(where, video, start, end, label)
    if not layout.video and len(videos) == 1:
        found.notes.append(
            f"no column names the video, so it is taken to be the one of the file's name, {source.path.stem}"
        )


class _Layout(NamedTuple):
    """Which column holds what.

    Attributes:
      tier: column of the tier; None where each tier has its own column.
      times: column and form (CLOCK, SECONDS or MILLISECONDS) of the "start", and of the "end" or the "duration".
      values: columns of the values, or of the tiers, with their names.
      video: columns of the video's name.
      width: number of columns.
      notes: what was assumed of the columns, or is left out.
    """

    tier: int | None
    times: dict[str, tuple[int, str]]
    values: dict[int, str]
    video: tuple[int, ...]
    width: int
    notes: tuple[str, ...] = ()


def _lines(source: Source) -> list[tuple[int, list[str]]]:
    """Returns the values of each line, without the lines on the file that may come first.

    ELAN separates values by tabs and never quotes them; a spreadsheet may have put commas and quotation marks there.
    """
    mark = source.table.delimiter
    lines = [
        (number, [value.strip() for value in (line.split("\t") if "\t" in source.text else split(line, mark))])
        for number, line in source.lines
    ]
    # A tier may have such a name; its lines have times as well.
    return [
        (number, values)
        for number, values in lines
        if any(values[1:]) or not values[0].startswith(("#file:", '"#file:'))
    ]


def _headed(values: Sequence[str]) -> dict[int, str]:
    """Returns the columns that a header calls times, with their form."""
    matches = {column: _HEADED.search(value) for column, value in enumerate(values)}
    return {column: match[1].lower() for column, match in matches.items() if match}


def _from_header(values: Sequence[str]) -> _Layout | None:
    """Reads a header; None if it names no begin, or neither end nor duration."""
    headed = _headed(values)
    kinds: dict[str, dict[str, int]] = {}  # such as "begin time" -> form -> column
    for column, form in headed.items():
        kinds.setdefault(_kind(values[column]), {})[form] = column
    begin, *rest = kinds
    ends = [kind for kind in rest if not _DURATION.search(kind)]
    if _DURATION.search(begin) or _END.search(begin) or not rest:
        return None
    name, other = ("end", ends[0]) if ends else ("duration", rest[0])
    notes = []
    if ends and len(rest) == 1 and not _END.search(other):
        notes.append(f'the column "{other}" is taken to be the end')
    # The same form for both, if there is one.
    form = next((form for form in kinds[begin] if form in kinds[other]), "")
    first, second = (form or next(iter(kinds[kind])) for kind in (begin, other))
    times = {"start": (kinds[begin][first], first), name: (kinds[other][second], second)}
    names = {column: value.lower() for column, value in enumerate(values)}
    others = {
        column: values[column]
        for column, name in names.items()
        if column not in headed and _kind(name) not in kinds and name != "participant"
    }
    video = tuple(column for name in _VIDEO_COLUMNS for column in others if names[column] == name)
    texts = {column: name for column, name in others.items() if column not in video}
    tier, labels = _texts(texts, min(headed))
    left = [name for column, name in texts.items() if column != tier and column not in labels and name]
    if left:
        notes.append(f"columns that are no annotations are left out: {', '.join(left)}")
    return _Layout(tier, times, labels, video, len(values), tuple(notes))


def _kind(name: str) -> str:
    """Returns the name of a column of times without its form."""
    return name.lower().rpartition(" - ")[0].strip()


def _texts(names: dict[int, str], begin: int) -> tuple[int | None, dict[int, str]]:
    """Returns the column of the tier, if there is one, and those of the values.

    ELAN writes either tier, participant, times and annotation, or the times and then a column for each tier.

    Args:
      names: column -> name, without those of times and videos.
      begin: the first column of times.
    """
    tier = next((column for column, name in names.items() if name.lower() in ("tier", "tier name", "tiers")), None)
    annotation = next((column for column, name in names.items() if name.lower() in _ANNOTATION), None)
    if tier is None and 0 in names and begin > 0 and annotation != 0:  # in another language, or without a name
        tier = 0
    if annotation is None and tier is None:
        return None, names
    if annotation is None:
        annotation = next((column for column in names if column > begin and column != tier), None)
    return tier, {} if annotation is None else {annotation: names[annotation]}


def _times(lines: Sequence[tuple[int, list[str]]]) -> list[tuple[int, str]]:
    """Returns the columns of times and their forms, between the tier, which is first, and the value, which is last."""
    rows = _rows(lines)
    if not rows or len(rows[0]) < 4 or 2 * len(rows) < len(lines) or rows[0] is not lines[0][1]:
        return []
    times = [(column, form) for column in range(1, len(rows[0]) - 1) if (form := _form([row[column] for row in rows]))]
    return times if all(_time(rows[0][column], form) is not None for column, form in times) else []


def _rows(lines: Sequence[tuple[int, list[str]]]) -> list[list[str]]:
    """Returns the values of the widest lines."""
    width = max((len(values) for _, values in lines), default=0)
    return [values for _, values in lines if len(values) == width]


def _guess(lines: Sequence[tuple[int, list[str]]]) -> _Layout | None:
    """Finds begins, ends and maybe durations, each in one or more forms; None if not exactly one choice agrees."""
    rows, times = _rows(lines), _times(lines)
    choices = []
    for skipped in (0, 1):  # the participant may be a number
        for groups in (3, 2):  # with durations, without
            size, rest = divmod(len(times) - skipped, groups)
            forms = [[form for _, form in times[skipped + k * size :][:size]] for k in range(groups)]
            if rest or size < 1 or len(set(forms[0])) < size or any(one != forms[0] for one in forms):
                continue
            columns = [times[skipped + k * size] for k in range(groups)]
            if _agree(rows, columns):
                choices.append(columns)
    if len(choices) != 1:
        return None
    width = len(rows[0])
    return _Layout(0, dict(zip(("start", "end"), choices[0], strict=False)), {width - 1: ""}, (), width)


def _agree(rows: Sequence[list[str]], columns: Sequence[tuple[int, str]]) -> bool:
    """Tells whether, in half of the rows at least, the end is after the begin, and the third time their difference."""
    read = [[_time(row[column], form) for column, form in columns] for row in rows]
    whole = [[time for time in times if time is not None] for times in read if None not in times]
    right = sum(
        begin < end and all(math.isclose(end - begin, one, abs_tol=_AGREE) for one in duration)
        for begin, end, *duration in whole
    )
    return 2 * right >= len(whole) > 0


def _form(texts: Sequence[str]) -> str:
    """Returns the form that most of these times have; empty if they are no times."""
    for form, pattern in _FORMS.items():
        if 2 * sum(bool(pattern.fullmatch(text)) for text in texts) > len(texts):
            return form
    return ""


def _time(text: str, form: str) -> float | None:
    """Returns seconds; None for what is no time of this form, such as a clock in a column of milliseconds."""
    seconds = None if _TIMECODE.fullmatch(text) else parse_seconds(text)
    if seconds is None or (":" in text) != (form == CLOCK):
        return None
    if form != MILLISECONDS:
        return seconds
    return seconds / 1000 if seconds.is_integer() else None


def _labels(values: Sequence[str], layout: _Layout, choice: str) -> list[str]:
    """Returns the labels of a line: those of all columns that are filled, or their tiers."""
    filled = [column for column in layout.values if values[column]]
    if choice == "value":
        return [values[column] for column in filled]
    if layout.tier is not None:
        return [values[layout.tier]] if values[layout.tier] else []
    return [layout.values[column] for column in filled]
