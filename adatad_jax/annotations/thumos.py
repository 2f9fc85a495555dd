"""THUMOS' own text files: one per class, whose name is the file's, with lines `video start end`."""

from __future__ import annotations

import re

from adatad_jax.annotations.records import Found, finite_number
from adatad_jax.annotations.source import Source

_NAME = re.compile(r"(?P<label>.+)_(?P<subset>val|test|train|validation|training|testing)", re.IGNORECASE)


def fits(source: Source) -> bool:
    """Tells whether every line is a word and two numbers; half of them, where the file has a name as THUMOS gives."""
    if source.json is not None or not source.lines:
        return False
    right = sum(_is_segment(line.split()) for _, line in source.lines)
    return right == len(source.lines) or (bool(_NAME.fullmatch(source.path.stem)) and 2 * right >= len(source.lines))


def _is_segment(words: list[str]) -> bool:
    return len(words) == 3 and finite_number(words[0]) is None and None not in map(finite_number, words[1:])


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
