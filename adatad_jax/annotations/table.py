"""A plain table `video,start,end,label`, one segment per line, as a person or a spreadsheet writes it."""

from __future__ import annotations

from adatad_jax.annotations.records import Found, finite_number
from adatad_jax.annotations.source import Line, Source
from adatad_jax.annotations.times import decimal_mark, may_be_thousands
from adatad_jax.errors import UserError

COLUMNS = ("video", "start", "end", "label")


def fits(source: Source) -> bool:
    """Tells whether the file has a header with the columns video, start, end and label."""
    return source.has_columns(*COLUMNS)


def read(source: Source, found: Found) -> None:
    """Reads a table with the columns video, start, end, label, and optionally subset and score.

    Other columns are ignored. Values are separated by commas, semicolons or tabs. Times are seconds, mm:ss or hh:mm:ss,
    with a point or a comma before the decimals, but not both in one table. A line whose start, end and label are empty
    names a video without segments. A line with a score is a detection, and left out if it has no length.

    Raises:
      UserError: the header is not that of a table, or no line follows it.
    """
    table = source.table
    if not fits(source) or len(set(table.header)) < len(table.header):
        raise UserError(
            f"{source.path}: line 1: expected the names of columns, {','.join(COLUMNS)} and optionally subset, each "
            f"once and separated by commas, semicolons or tabs; found {table.written or 'nothing'}"
        )
    marks: dict[str, str] = {}
    count = 0
    for line in source.rows():
        count += 1
        if len(line.values) != len(table.header):
            found.wrong(
                f"{line.where}: {len(line.values)} values, expected {len(table.header)}: put a value that holds a "
                "comma into quotes"
            )
        else:
            _read_line(line, table.delimiter, found, marks)
    if len(marks) > 1:
        each = ", ".join(f'{where} with "{mark}"' for mark, where in marks.items())
        found.wrong(f"decimals are written with a point and with a comma ({each}): use one in the whole table")
    found.drop_empty_detections()
    if not count:
        raise UserError(f"{source.path}: no segments, only a header; expected one line per segment")


def _read_line(line: Line, delimiter: str, found: Found, marks: dict[str, str]) -> None:
    video, start, end, label = (line.fields[column] for column in COLUMNS)
    subset = line.fields.get("subset", "")
    if "subset" in line.fields and not subset:
        found.wrong(f"{line.where}: the subset is empty, expected a name on every line, or no such column")
        subset = "?"
    if not start and not end and not label:
        found.add_bare(line.where, video, subset)
        return
    for time in (start, end):
        if delimiter == "," and may_be_thousands(time):
            found.wrong(
                f'{line.where}: "{time}" may be a thousand or a decimal, expected seconds with a point, such as 12.5'
            )
            return
        if mark := decimal_mark(time):
            marks.setdefault(mark, line.where)
    found.add(line.where, video, start, end, label, subset, score=finite_number(line.fields.get("score")))
