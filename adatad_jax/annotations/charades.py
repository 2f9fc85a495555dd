"""Charades' CSV: a line per video, its actions as `c010 3.10 9.20;c011 0.00 5.60`."""

from __future__ import annotations

from adatad_jax.annotations.records import Found
from adatad_jax.annotations.source import Source


def fits(source: Source) -> bool:
    """Tells whether the file is a table with the columns id and actions."""
    return source.has_columns("id", "actions")


def read(source: Source, found: Found) -> None:
    """Reads the actions of each video; labels are their codes. A video without actions has no segments."""
    for where, _, fields in source.whole_rows(found, "id"):
        video = fields.get("id", "")
        found.know(video, duration=fields.get("length"))
        actions = [action for action in fields.get("actions", "").split(";") if action.strip()]
        if not actions:
            found.add_bare(where, video)
        for action in actions:
            match action.split():
                case [code, start, end]:
                    found.add(where, video, start, end, code)
                case _:
                    found.wrong(f'{where}: the action is "{action}", expected CODE START END', video)
