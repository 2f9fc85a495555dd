"""THUMOS' own text files: one per class, whose name is the file's, with lines `video start end`."""

from __future__ import annotations

import re

from adatad_jax.annotations.records import Found, finite_number
from adatad_jax.annotations.source import Source

_NAME = re.compile(r"(?P<label>.+)_(?P<subset>val|test|train|validation|training|testing)", re.IGNORECASE)


def fits(source: Source) -> bool:
    """Tells whether every line is a word and two numbers."""
    if source.json is not None or not source.lines:
        return False
    words = [line.split() for _, line in source.lines]
    return all(len(line) == 3 for line in words) and all(
        finite_number(line[0]) is None and None not in map(finite_number, line[1:]) for line in words
    )


def read(source: Source, found: Found) -> None:
    """Reads the segments; `Diving_val.txt` has those of the class Diving in the subset val."""
    match = _NAME.fullmatch(source.path.stem)
    label, subset = (match["label"], match["subset"]) if match else (source.path.stem, "")
    for number, line in source.lines:
        words = line.split()
        if len(words) == 3:
            found.add(f"line {number}", words[0], words[1], words[2], label, subset)
        else:
            found.wrong(f'line {number}: "{line.strip()[:80]}", expected VIDEO START END', words[0])
