"""Labels of a results file that are whole numbers, and the class names that they stand for.

Tools write a class as its name, as a number (`3`, `"3"`, `3.0`), or as EPIC-Kitchens' pair of a verb's and a noun's
number (`"3,1"`). Numbers become names by the first of these rules that holds:

* all labels of the annotations are numbers (`3`, `003`, `id_003`, `3,1`): equal numbers are the same class;
* the class list has numbers of its own (`7 BaseballPitch`, or a table with the columns id and key): those count;
* the class list has names alone: the number is a line, counted from 0.

A pair needs two lists, of verbs and of nouns.

Nothing is guessed. Without a list, with numbers that it lacks, or with numbers beside names, the file is refused.
"""

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from adatad_jax.annotations.text import read_text
from adatad_jax.data.annotations import read_classes
from adatad_jax.errors import UserError, few

Label = str | int
Numbers = tuple[int, ...]

_WHOLE = re.compile(r"(?:id_)?(-?\d{1,18})(?:\.0*)?")
_PAIR = re.compile(r"\(?\s*(\d{1,18})\s*,\s*(\d{1,18})\s*\)?")
_NUMBERED = re.compile(r"(\d{1,18})[\s,;:]+(.+)")
_NAME_COLUMNS = ("key", "name", "label", "class")


class ClassList(NamedTuple):
    """A class list as given.

    Attributes:
      path: the file.
      names: class names in the file's order, or in the order of their numbers.
      numbers: number, or a verb's and a noun's -> class name.
      counted: whether the numbers are the lines, counted from 0; else they stand in the file.
    """

    path: Path
    names: tuple[str, ...]
    numbers: Mapping[Numbers, str]
    counted: bool


def read_class_list(path: Path, annotated: Collection[str]) -> ClassList:
    """Reads a class list of one name per line, with or without numbers, or a table with the columns id and key.

    Lines such as `7 BaseballPitch` hold numbers if the annotations know the names without them, and not with them.

    Args:
      path: the file.
      annotated: labels of the annotations.

    Raises:
      UserError: as `read_classes`; or a number occurs twice.
    """
    listed = _table(path)
    if listed is None:
        lines = read_classes(path)
        matches = [_NUMBERED.fullmatch(line) for line in lines]
        pairs = [(int(match[1]), match[2].strip()) for match in matches if match]
        known = set(annotated)
        if len(pairs) < len(lines) or known & set(lines) or not known & {name for _, name in pairs}:
            lines_from_0: dict[Numbers, str] = {(line,): name for line, name in enumerate(lines)}
            return ClassList(path, lines, lines_from_0, counted=True)
        listed = pairs
    for what, values in (("number", [number for number, _ in listed]), ("label", [name for _, name in listed])):
        if twice := [str(value) for value, count in Counter(values).items() if count > 1]:
            raise UserError(f"{path}: {what} listed more than once: {few(twice)}; keep each class once")
    numbers: dict[Numbers, str] = {(number,): name for number, name in sorted(listed)}
    return ClassList(path, tuple(numbers.values()), numbers, counted=False)


def pair_classes(verbs: ClassList, nouns: ClassList, annotated: Collection[str]) -> ClassList:
    """Returns the class list of actions, pairs of a verb's and a noun's number.

    An action is named as the annotations name it, "close lid", or else "close,lid".

    Args:
      verbs, nouns: class lists.
      annotated: labels of the annotations.
    """
    known = set(annotated)
    numbers = {
        (*verb, *noun): f"{first} {second}" if f"{first} {second}" in known else f"{first},{second}"
        for verb, first in verbs.numbers.items()
        for noun, second in nouns.numbers.items()
    }
    return ClassList(verbs.path, (), numbers, counted=False)


def numbers_of(label: Label) -> Numbers | None:
    """Returns the number in a label, or the two numbers of a pair; None for a name."""
    if isinstance(label, int):
        return (label,)
    if whole := _WHOLE.fullmatch(label.strip()):
        return (int(whole[1]),)
    pair = _PAIR.fullmatch(label.strip())
    return (int(pair[1]), int(pair[2])) if pair else None


def name_labels(
    labels: Sequence[Label], annotated: Iterable[str], listed: ClassList | None, path: Path
) -> tuple[list[str], tuple[str, ...]]:
    """Replaces numbers by class names, by the rules in the module's docstring.

    Args:
      labels: of the detections.
      annotated: labels of the annotations.
      listed: the class list; None without one.
      path: the results file, for messages.

    Returns:
      A class name for each label, and notes on what numbers were taken for.

    Raises:
      UserError: numbers cannot be told.
    """
    annotated = tuple(annotated)
    known = dict.fromkeys((*annotated, *(listed.names if listed else ())))
    own = {numbers: name for name in annotated if (numbers := numbers_of(name))}
    counts = Counter(labels)
    numbered = {label: numbers for label in counts if label not in known and (numbers := numbers_of(label))}
    numbered |= {label: (label,) for label in counts if isinstance(label, int)}
    if not numbered:
        return [str(label) for label in labels], ()
    if len(own) == len(annotated) > 0:
        named = {label: own.get(numbers, _text(numbers)) for label, numbers in numbered.items()}
        note = _same_numbers(named, known)
    else:
        _refuse_mixture(counts, numbered, path)
        named = _from_list(numbered, counts, annotated, listed, path)
        note = _taken_for(named, numbered, listed)
    return [named.get(label, str(label)) for label in labels], note


def _same_numbers(named: Mapping[Label, str], known: Collection[str]) -> tuple[str, ...]:
    """Says where numbers met labels of the annotations that are spelt in another way."""
    unlike = [f"{label} is {name}" for label, name in named.items() if str(label) != name and name in known]
    return (f"labels that are the same numbers as in the annotations: {few(unlike)}",) if unlike else ()


def _refuse_mixture(counts: Counter[Label], numbered: Collection[Label], path: Path) -> None:
    names = [str(label) for label in counts if label not in numbered]
    if names:
        raise UserError(
            f"{path}: {sum(counts[label] for label in numbered)} detections have a number as label "
            f"({few([str(label) for label in numbered])}), the others a name ({few(names)}); expected one kind: write "
            "all labels as names"
        )


def _from_list(
    numbered: Mapping[Label, Numbers],
    counts: Counter[Label],
    annotated: Sequence[str],
    listed: ClassList | None,
    path: Path,
) -> dict[Label, str]:
    """Looks numbers up in the class list; raises `UserError` if there is none, or if it lacks a number."""
    shown = f"{len(numbered)} labels in {sum(counts[label] for label in numbered)} detections are numbers"
    some = few([str(label) for label in sorted(numbered, key=numbered.__getitem__)])
    of_pairs = any(len(numbers) > 1 for numbers in numbered.values())
    if of_pairs and (listed is None or not all(len(numbers) > 1 for numbers in listed.numbers)):
        raise UserError(
            f"{path}: {shown} of a verb and a noun ({some}), but the annotations' labels are {few(annotated)}; give "
            'annotations with labels such as "3,1", or the names: --classes=VERBS and --noun-classes=NOUNS'
        )
    if listed is None:
        raise UserError(
            f"{path}: {shown} ({some}), but the annotations' labels are names ({few(annotated)}): give --classes=FILE, "
            "the names one per line, in the order of the numbers from 0, or with the number before each name"
        )
    missing = sorted(set(numbered.values()) - listed.numbers.keys())
    if missing:
        lowest, highest = min(listed.numbers), max(listed.numbers)
        advice = "give the list that belongs to the detections"
        if listed.counted and missing == [(len(listed.numbers),)] and (0,) not in numbered.values():
            advice = f"if they are counted from 1, write the number before each name, such as 1 {listed.names[0]}"
        lost = sum(counts[label] for label, numbers in numbered.items() if numbers in missing)
        raise UserError(
            f"{path}: {lost} detections have a label that is not in {listed.path} "
            f"({few([_text(numbers) for numbers in missing])}); its {len(listed.numbers)} classes have the numbers "
            f"{_text(lowest)} to {_text(highest)}: {advice}"
        )
    return {label: listed.numbers[numbers] for label, numbers in numbered.items()}


def _text(numbers: Numbers) -> str:
    return ",".join(map(str, numbers))


def _taken_for(named: Mapping[Label, str], numbered: Mapping[Label, Numbers], listed: ClassList | None) -> tuple[str]:
    """Says which names the numbers were taken for."""
    assert listed is not None
    names = {numbers: named[label] for label, numbers in numbered.items()}
    rule = "its lines, counted from 0" if listed.counted else "its numbers"
    note = f"labels are numbers, taken as {listed.path} has them ({rule}): " + few(
        [f"{_text(numbers)} is {name}" for numbers, name in sorted(names.items())]
    )
    if listed.counted and (0,) not in names:
        note += "; no label is 0: if they are counted from 1, write the number before each name in the list"
    return (note,)


def _table(path: Path) -> list[tuple[int, str]] | None:
    """Reads a table of classes, such as EPIC-Kitchens' `id,key,instances,category`; None for any other file."""
    try:
        rows = list(csv.reader(read_text(path).splitlines()))
    except csv.Error:
        return None
    header = [name.strip().lower() for name in rows[0]] if rows else []
    column = next((name for name in _NAME_COLUMNS if name in header), "")
    if "id" not in header or not column:
        return None
    where = header.index("id"), header.index(column)
    found = []
    for number, row in enumerate(rows[1:], 2):
        if not any(row):
            continue
        numbers = numbers_of(row[where[0]]) if len(row) > max(where) else None
        if numbers is None or not row[where[1]].strip():
            raise UserError(
                f"{path}: line {number}: {','.join(row)[:80]}; expected a whole number in the column id, and a name in "
                f"the column {column}"
            )
        found.append((numbers[0], row[where[1]].strip()))
    return found or None
