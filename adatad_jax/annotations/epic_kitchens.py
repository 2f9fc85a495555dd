"""EPIC-Kitchens-100's CSV: segments labelled by verb, noun, or both as an action."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from pathlib import Path

from adatad_jax.annotations.records import Found
from adatad_jax.annotations.source import Line, Source
from adatad_jax.annotations.text import read_text
from adatad_jax.errors import UserError

COLUMNS = ("video_id", "start_timestamp", "stop_timestamp", "verb", "noun")
LABELS = ("action", "verb", "noun")


def fits(source: Source) -> bool:
    """Tells whether the file is a table with EPIC-Kitchens' columns."""
    return source.has_columns(*COLUMNS)


def read(source: Source, found: Found) -> None:
    """Reads the segments; labels are those of verb or noun, or of both ("close lid").

    Narrators use several words for one class, such as "take" and "get". The label is the name of the class: that of
    `EPIC_100_verb_classes.csv` and `EPIC_100_noun_classes.csv` beside the file, or else the most frequent word of the
    file.

    Raises:
      UserError: `label_from` is something else.
    """
    choice = found.options.label_from or LABELS[0]
    if choice not in LABELS:
        raise UserError(f"{source.path}: labels from {choice!r}: EPIC-Kitchens gives them from {', '.join(LABELS)}")
    parts = ("verb", "noun") if choice == "action" else (choice,)
    lines = list(source.whole_rows(found, "video_id"))
    names = {part: _class_names(part, lines, source.path, found) for part in parts}
    if choice == "action" and not found.options.label_from:
        found.notes.append("labels are pairs of verb and noun (--label-from verb or noun takes one of them)")
    for where, _, fields in lines:
        words = [names[part].get(fields.get(f"{part}_class", ""), fields.get(part, "")) for part in parts]
        label = " ".join(words) if all(words) else ""
        found.add(where, fields.get("video_id", ""), fields.get("start_timestamp"), fields.get("stop_timestamp"), label)


def _class_names(part: str, lines: list[Line], path: Path, found: Found) -> dict[str, str]:
    """Returns class number -> name, for verbs or for nouns."""
    table = path.with_name(f"EPIC_100_{part}_classes.csv")
    if table.is_file():
        rows = csv.DictReader(read_text(table).split("\n"))
        if not {"id", "key"} <= set(rows.fieldnames or ()):
            raise UserError(f"{table}: expected the columns id and key, found {rows.fieldnames}")
        return {row["id"]: row["key"] for row in rows}
    words: dict[str, Counter[str]] = defaultdict(Counter)
    for line in lines:
        if number := line.fields.get(f"{part}_class", ""):
            words[number][line.fields.get(part, "")] += 1
    several = {number: counts for number, counts in words.items() if len(counts) > 1}
    if several:
        first = next(iter(several.values()))
        found.notes.append(
            f"{len(several)} {part} classes have several words; the most frequent one is the label, such as "
            f'"{first.most_common(1)[0][0]}" for {", ".join(first)} (put {table.name} beside the file for the names of '
            "the data set)"
        )
    return {number: counts.most_common(1)[0][0] for number, counts in words.items()}
