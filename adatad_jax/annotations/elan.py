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


def fits(source: Source) -> bool:
    """Tells whether the file is tab-separated, with ELAN's header, or with a begin and an end between two texts."""
    if source.text.lstrip().startswith(("{", "[", "<")):
        return False
    lines = _lines(source)
    if not lines:
        return False
    if headed := _headed(lines[0][1]):
        return len(headed) >= 2
    return "\t" in source.text and _guess(lines) is not None


def read(source: Source, found: Found) -> None:
    """Reads annotations; the video is that of a column "File Name" or "File Path", else the one with the file's stem.

    Args:
      source: the file.
      found: receives the rows. Its option `label_from` chooses what labels are: value (the usual) or tier.

    Raises:
      UserError: `label_from` is something else, or the columns of the times cannot be told.
    """
    choice = found.options.label_from or "value"
    if choice not in LABELS:
        raise UserError(f"{source.path}: labels from {choice!r}: ELAN gives them from {' or '.join(LABELS)}")
    lines = _lines(source)
    headed = bool(lines) and bool(_headed(lines[0][1]))
    layout = _from_header(lines[0][1]) if headed else _guess(lines)
    if layout is None:
        raise UserError(
            f"{source.path}: cannot tell which columns hold begin and end; export with column headers, and times as "
            "hh:mm:ss.ms, ss.msec or msec"
        )
    videos = set()
    for number, values in lines[headed:]:
        where = f"line {number}"
        values = [*values, *[""] * (layout.width - len(values))]
        video = next((values[column] for column in layout.video if values[column]), source.path.stem)
        # A file path is that of the document (.eaf), which has the name of the video.
        video = video.replace("\\", "/")
        video = str(PurePosixPath(video).with_suffix("")) if video.lower().endswith(".eaf") else video
        videos.add(video)
        start, end = (_time(values[column], layout.form) for column in (layout.begin, layout.end))
        labels = _labels(values, layout, choice)
        if not labels:
            found.add(where, video, start, end, "")
        for label in labels:
            found.add(where, video, start if start is not None else values[layout.begin], end, label)
    if not any(layout.video) and len(videos) == 1:
        found.notes.append(
            f"no column names the video, so it is taken to be the one of the file's name, {source.path.stem}"
        )


class _Layout(NamedTuple):
    """Which column holds what.

    Attributes:
      tier: column of the tier; None where each tier has its own column.
      begin, end: columns of the times.
      form: of these two: CLOCK, SECONDS or MILLISECONDS.
      values: columns of the values, or of the tiers, with their names.
      video: columns of the video's name.
      width: number of columns.
    """

    tier: int | None
    begin: int
    end: int
    form: str
    values: dict[int, str]
    video: tuple[int, ...]
    width: int


def _lines(source: Source) -> list[tuple[int, list[str]]]:
    """Returns the values of each line, without the lines on the file that may come first.

    ELAN separates values by tabs and never quotes them; a spreadsheet may have put commas and quotation marks there.
    """
    mark = source.table.delimiter
    lines = [
        (number, [value.strip() for value in (line.split("\t") if "\t" in source.text else split(line, mark))])
        for number, line in source.lines
    ]
    return [(number, values) for number, values in lines if not values[0].startswith(("#file:", '"#file:'))]


def _headed(values: Sequence[str]) -> dict[int, str]:
    """Returns the columns that a header calls times, with their form."""
    matches = {column: _HEADED.search(value) for column, value in enumerate(values)}
    return {column: match[1].lower() for column, match in matches.items() if match}


def _from_header(values: Sequence[str]) -> _Layout | None:
    """Reads a header; the first time is the begin, and the next of the same form the end."""
    times = _headed(values)
    begin = min(times)
    ends = [column for column, form in times.items() if form == times[begin] and column > begin]
    if not ends:
        return None
    names = {column: value.strip().lower() for column, value in enumerate(values)}
    others = {
        column: values[column]
        for column, name in names.items()
        if column not in times and not name.startswith(("begin time", "end time", "duration", "participant"))
    }
    video = [column for name in _VIDEO_COLUMNS for column in others if names[column] == name]
    tier = next((column for column in others if names[column] in ("tier", "tier name", "tiers")), None)
    if tier is None and 0 in others and names[0] == "":  # ELAN leaves the tier's column without a name
        tier = 0
    labels = {column: name for column, name in others.items() if column not in video and column != tier}
    return _Layout(tier, begin, min(ends), times[begin], labels, tuple(video), len(values))


def _guess(lines: Sequence[tuple[int, list[str]]]) -> _Layout | None:
    """Finds the times between the tier, which is first, and the value, which is last: begins, ends, maybe durations."""
    width = max((len(values) for _, values in lines), default=0)
    rows = [values for _, values in lines if len(values) == width]
    if width < 4 or 2 * len(rows) < len(lines) or rows[0] is not lines[0][1]:
        return None
    times = [(column, form) for column in range(1, width - 1) if (form := _form([row[column] for row in rows]))]
    for groups in (3, 2):  # with durations, without
        size, rest = divmod(len(times), groups)
        if rest or not size or len({tuple(form for _, form in times[k * size :][:size]) for k in range(groups)}) > 1:
            continue
        columns = [times[k * size][0] for k in range(groups)]
        form = times[0][1]
        seconds = [[_time(row[column], form) for column in columns] for row in rows]
        if None not in seconds[0] and (groups == 2 or all(_is_duration(triple) for triple in seconds)):
            return _Layout(0, columns[0], columns[1], form, {width - 1: ""}, (), width)
    return None


def _form(texts: Sequence[str]) -> str:
    """Returns the form that most of these times have; empty if they are no times."""
    for form, pattern in _FORMS.items():
        if 2 * sum(bool(pattern.fullmatch(text)) for text in texts) > len(texts):
            return form
    return ""


def _is_duration(triple: Sequence[float | None]) -> bool:
    """Tells whether the third is the second without the first; true where one of them cannot be read."""
    if None in triple:
        return True
    begin, end, duration = (value or 0.0 for value in triple)
    return math.isclose(end - begin, duration, abs_tol=_AGREE)


def _time(text: str, form: str) -> float | None:
    seconds = None if _TIMECODE.fullmatch(text) else parse_seconds(text)
    return seconds if seconds is None or form != MILLISECONDS else seconds / 1000


def _labels(values: Sequence[str], layout: _Layout, choice: str) -> list[str]:
    """Returns the labels of a line: those of all columns that are filled, or their tiers."""
    filled = [column for column in layout.values if values[column]]
    if choice == "value":
        return [values[column] for column in filled]
    if layout.tier is not None:
        return [values[layout.tier]] if values[layout.tier] else []
    return [layout.values[column] for column in filled]
