"""Labels of videos in a table: the columns video and label, and subset if it has one; or those of Kinetics' lists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from adatad_jax.annotations.source import Line, Source
from adatad_jax.errors import UserError, listed

COLUMNS = ("video", "label")
KINETICS = ("label", "youtube_id", "time_start", "time_end")  # and split


class ClipRow(NamedTuple):
    """A line of a table.

    Attributes:
      where: its place, such as "line 2".
      video: as written.
      label: class name.
      subset: empty where the table has no subsets.
    """

    where: str
    video: str
    label: str
    subset: str


def read_table(path: Path) -> list[ClipRow]:
    """Reads a table of labelled videos.

    Values are separated by commas, semicolons or tabs; other columns are ignored. Kinetics' lists name a video by
    youtube_id, time_start and time_end, in seconds: its file is called `youtube_id_SSSSSS_EEEEEE`, six digits each.

    Args:
      path: the file.

    Returns:
      Its lines in order.

    Raises:
      UserError: the file is missing or no such table, or lines are wrong; all of these are listed.
    """
    source = Source(path)
    header = source.table.header
    if source.has_columns(*COLUMNS):
        video, subset = _plain, "subset"
    elif source.has_columns(*KINETICS):
        video, subset = _kinetics, "split"
    else:
        raise UserError(
            f"{path}: line {source.table.number}: expected the names of columns, {','.join(COLUMNS)} and optionally "
            f"subset, or Kinetics' {','.join(KINETICS)},split; found {source.table.written or _content(source)}"
        )
    if len(set(header)) < len(header):
        raise UserError(f"{path}: line {source.table.number}: a column is named twice ({source.table.written})")
    problems: list[str] = []
    rows = []
    for line in source.rows():
        row = _row(line, len(header), video, subset if subset in header else "", problems)
        if row is not None:
            rows.append(row)
    if problems:
        raise UserError(f"{path}: {len(problems)} line(s) to correct:{listed(problems)}")
    if not rows:
        raise UserError(f"{path}: no videos, only a header; expected one line per video")
    return rows


def _row(line: Line, columns: int, video: Callable[[Line], str], subset: str, problems: list[str]) -> ClipRow | None:
    """Returns the row of a line, or None after adding what is wrong to the problems."""
    before = len(problems)
    if len(line.values) != columns:
        hint = "the line is cut short" if len(line.values) < columns else "put a value that holds a comma into quotes"
        problems.append(f"{line.where}: {len(line.values)} values, expected {columns}: {hint}")
        return None
    try:
        row = ClipRow(line.where, video(line), line.fields["label"], line.fields[subset] if subset else "")
    except ValueError:
        times = ", ".join(f'{column} "{line.fields[column]}"' for column in KINETICS[2:])
        problems.append(f"{line.where}: {times}, expected whole seconds")
        return None
    if not row.video:
        problems.append(f"{line.where}: the video is empty, expected the name of a file")
    if not row.label:
        problems.append(f"{line.where}: the label is empty, expected the name of a class")
    if subset and not row.subset:
        problems.append(f"{line.where}: the {subset} is empty, expected a name on every line, or no such column")
    return row if len(problems) == before else None


def _content(source: Source) -> str:
    """Says what a file without a header is."""
    return "no table, but JSON or XML" if source.lines else "an empty file"


def _plain(line: Line) -> str:
    return line.fields["video"]


def _kinetics(line: Line) -> str:
    name, start, end = (line.fields[column] for column in KINETICS[1:])
    return f"{name}_{int(start):06d}_{int(end):06d}" if name else ""
