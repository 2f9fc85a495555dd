"""BORIS: aggregated events, and its list of events with a line for each start and each stop."""

from __future__ import annotations

import re
from collections.abc import Iterator

from adatad_jax.annotations.records import Found
from adatad_jax.annotations.source import DELIMITERS, Line, Source, Table, table_of
from adatad_jax.annotations.times import parse_seconds
from adatad_jax.errors import UserError

AGGREGATED = ("behavior", "behavior type", "start (s)", "stop (s)")
# Columns that name the media file, in versions 7 to 9; the first that has a value counts.
MEDIA = ("media file name", "media file", "media file path", "source")
# Columns of the length and the rate of the media.
OFFSET = "time offset (s)"
LENGTH, RATE = ("media duration (s)", "total length"), ("fps (frame/s)", "fps")
HEADER_WITHIN = 200  # lines; above it stand those on the observation and its variables
_PLAYER = re.compile(r"player #\d+:")  # in front of the file, where several players can be used
_SEVERAL = re.compile(r"\s*;\s*")


def fits_aggregated(source: Source) -> bool:
    """Tells whether the file is a table with the columns of aggregated events."""
    return source.has_columns(*AGGREGATED)


def read_aggregated(source: Source, found: Found) -> None:
    """Reads aggregated events: a line has a behaviour with its start and stop; POINT events have equal ones.

    An observation without events becomes a video without segments.
    """
    for line in _whole_rows(source, source.table, found):
        behavior, start, stop = (line.fields.get(name, "") for name in ("behavior", "start (s)", "stop (s)"))
        video = _media(line.where, line.fields, found)
        if video is None:
            continue
        if not behavior and start in ("", "NA") and stop in ("", "NA"):
            found.add_bare(line.where, video)
        elif line.fields["behavior type"].upper() == "POINT":
            found.add(line.where, video, start, start, behavior)
        else:
            found.add(line.where, video, start, stop, behavior)


def fits_events(source: Source) -> bool:
    """Tells whether the file has a line, below those on the observation, with the columns of a list of events."""
    return not fits_aggregated(source) and _events_header(source) is not None


def read_events(source: Source, found: Found) -> None:
    """Reads a list of events: START and STOP lines of one subject, behaviour and modifiers make a segment."""
    table = _events_header(source)
    if table is None:
        raise UserError(f"{source.path}: no line names time, behavior, status and media file; export it anew")
    open_: dict[tuple[str, ...], tuple[str, str]] = {}
    for where, _, fields in _whole_rows(source, table, found):
        kind = (fields.get("status") or fields.get("behavior type") or "").upper()
        video = _media(where, fields, found)
        if video is None:
            continue
        behavior, time = fields.get("behavior", ""), fields.get("time", "")
        modifiers = (fields[name] for name in table.header if name.startswith("modifier") and name in fields)
        key = (fields.get("observation id", ""), video, fields.get("subject", ""), behavior, *modifiers)
        if kind == "POINT":
            found.add(where, video, time, time, behavior)
        elif kind == "START":
            if key in open_:
                found.wrong(f'{where}: "{behavior}" starts again, but has not stopped since {open_[key][0]}', video)
            open_[key] = (where, time)
        elif kind == "STOP" and key in open_:
            began, start = open_.pop(key)
            found.add(f"{began} to {where}", video, start, time, behavior)
        elif kind == "STOP":
            found.wrong(f'{where}: "{behavior}" stops at {time}, but has not started', video)
        else:
            found.wrong(f'{where}: the status is "{kind}", expected START, STOP or POINT', video)
    for key, (where, start) in open_.items():
        found.wrong(f'{where}: "{key[3]}" starts at {start} and never stops', key[1])


def _events_header(source: Source) -> Table | None:
    """Returns the line that names the columns of a list of events; others on the observation may stand above it."""
    for number, line in source.lines[:HEADER_WITHIN]:
        for delimiter in DELIMITERS:
            table = table_of(number, line, delimiter)
            columns = set(table.header)
            if {"time", "behavior"} <= columns and {"status", "behavior type"} & columns and set(MEDIA) & columns:
                return table
    return None


def _whole_rows(source: Source, table: Table, found: Found) -> Iterator[Line]:
    """Yields the lines that have a value for each column; a line that is cut off would seem to hold no event."""
    for line in source.rows(table):
        if len(line.values) < len(table.header):
            video = next((line.fields[name] for name in MEDIA if line.fields.get(name)), "")
            found.wrong(
                f"{line.where}: {len(line.values)} values, expected {len(table.header)}: the line is cut off; export "
                "the file again",
                _PLAYER.sub("", video),
            )
        else:
            yield line


def _media(where: str, fields: dict[str, str], found: Found) -> str | None:
    """Returns the media file of a line and keeps its length; None after adding what is wrong to the problems."""
    media = next((fields[name] for name in MEDIA if fields.get(name)), "")
    files, sources = (
        [_PLAYER.sub("", part) for part in _SEVERAL.split(text) if part] for text in (media, fields.get("source", ""))
    )
    for several in (files, sources):
        if len(several) > 1:
            found.wrong(
                f"{where}: times run over several media files ({';'.join(several)}), expected one; "
                "split the observation",
                files[0] if files else "",
            )
            return None
    if parse_seconds(fields.get(OFFSET) or "0") != 0:
        found.wrong(
            f"{where}: the time offset of the observation is {fields[OFFSET]} s, expected 0: the times are not "
            "those of the media file; set it to 0 in BORIS, and export again",
            files[0] if files else "",
        )
        return None
    if not files:
        found.wrong(f"{where}: no media file is named (a live observation?), expected one")
        return None
    duration, rate = (next((fields[name] for name in names if fields.get(name)), None) for names in (LENGTH, RATE))
    found.know(files[0], duration=duration, fps=rate)
    return files[0]
