"""GMDCSA24's CSV files: a line per video, its column Classes as `Sitting[0 to 1]; Sleeping[2 to 8]`."""

from __future__ import annotations

import re

from adatad_jax.annotations.names import plain_name
from adatad_jax.annotations.records import Found
from adatad_jax.annotations.source import Source

VIDEO, CLASSES = "file name", "classes"
# A label, a bracket, times, and a bracket that may be missing. A label may hold digits, but none of these marks.
_PART = re.compile(r"(?P<label>[^\[\];:]*)\[(?P<times>[^\[\]]*?)(?P<closed>\]|(?=;?[^\[\];]*\[)|$)")
_TIMES = re.compile(r"(?P<start>\d+(?:\.\d+)?)\s+(?:to\s+)?(?P<end>\d+(?:\.\d+)?)")
_BETWEEN = re.compile(r"[;:\s.]*")


def fits(source: Source) -> bool:
    """Tells whether the file is a table with the columns File Name and Classes, and brackets in it."""
    return source.has_columns(VIDEO, CLASSES) and "[" in source.text


def read(source: Source, found: Found) -> None:
    """Reads the segments of each video.

    `NN.mp4` of `Subject_1_ADL.csv` is called Subject_1_ADL_NN.mp4, as subjects and kinds number their videos alike. A
    file NN.mp4 will do, or one with the folder's name in front. Intervals without "to" and brackets that are not closed
    are read as they are meant, with a note; what cannot be read is named by its line.
    """
    mended: list[str] = []
    folder = source.path.resolve().parent.name.replace(" ", "_")
    for where, values, fields in source.whole_rows(found, spare=True):
        # The description may hold commas without quotes; the classes come last.
        text = values[-1] if len(values) > len(source.table.header) else fields.get(CLASSES, "")
        written = fields.get(VIDEO, "")
        video = f"{source.path.stem}_{written}" if written else ""
        found.aliases[video] = (f"{folder}_{source.path.stem}_{written}", written)
        found.know(video, duration=fields.get("length (seconds)"))
        if not text:
            found.add_bare(where, video)
        before = len(found.problems)
        if _read_classes(where, video, text, found) and len(found.problems) == before:
            mended.append(f"{where}: {plain_name(written)}: {text}")
    if mended:
        found.notes.append("\n  ".join([f"{len(mended)} lines are not written as the others; read as meant:", *mended]))


def _read_classes(where: str, video: str, text: str, found: Found) -> bool:
    """Adds the segments of one video; returns whether something had to be read as it is meant."""
    mended, place = False, 0
    for part in _PART.finditer(text):
        label, times = part["label"].strip(), part["times"].strip().rstrip(";")
        between = text[place : part.start()]
        mended |= not part["closed"] or between.strip() not in ("", ";")
        if not _BETWEEN.fullmatch(between):
            found.wrong(f'{where}: "{between.strip()}" in "{text}", expected LABEL[START to END; ...]; ...', video)
        place = part.end()
        if label.count("(") > label.count(")"):
            label, mended = f"{label})", True
        for interval in times.split(";"):
            match = _TIMES.fullmatch(interval.strip())
            if match is None:
                found.wrong(f'{where}: "{interval.strip()}" of "{label}", expected START to END in seconds', video)
                continue
            mended |= "to" not in interval
            found.add(where, video, match["start"], match["end"], label)
    if not _BETWEEN.fullmatch(text[place:]):
        found.wrong(f'{where}: "{text[place:].strip()}", expected LABEL[START to END; ...]; ...', video)
    return mended
