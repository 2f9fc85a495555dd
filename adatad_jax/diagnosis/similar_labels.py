"""Labels that look like one label spelt twice."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from itertools import combinations

# Words of at least this many letters that have two swapped, or one doubled or not, are taken for one word; and longer
# ones, where a letter is added, missing or another.
SLIP_FROM, ANY_SLIP_FROM = 5, 8
_WORD = re.compile(r"[^\W\d_]+|\d+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_VOWELS = "aeiou"


def similar_labels(labels: Collection[str]) -> Iterator[tuple[str, str]]:
    """Finds pairs of labels that differ only in spelling.

    Labels are compared word by word. Two words are alike if they are equal but for case, for a plural, or for the form
    of a verb ("Fall" and "Falling", "sit" and "sitting"); marks and blanks between words do not count. Beside that, one
    word may have a slip of the pen, such as "jumping" and "jumpnig". Numbers and short words must be equal: "Falling
    (FW)" and "Falling (BW)" are different.

    Args:
      labels: class names.

    Yields:
      Pairs of labels, in the order given.
    """
    words = {label: _words(label) for label in dict.fromkeys(labels)}
    groups: dict[object, list[str]] = defaultdict(list)  # labels that are alike share one of their two groups
    for label, own in words.items():
        groups[tuple(word[0] for word in own)].append(label)
        groups["".join(own)].append(label)
    pairs = {
        pair for group in groups.values() for pair in combinations(group, 2) if _alike(words[pair[0]], words[pair[1]])
    }
    order = {label: place for place, label in enumerate(words)}
    yield from sorted(pairs, key=lambda pair: (order[pair[0]], order[pair[1]]))


def _words(label: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(_CAMEL.sub(" ", label))]


def _alike(one: list[str], other: list[str]) -> bool:
    """Tells whether two lists of words are spellings of one label."""
    if "".join(one) == "".join(other):
        return True
    if len(one) != len(other):
        return False
    slips = 0
    for first, second in zip(one, other, strict=True):
        if first == second or _stems(first) & _stems(second):
            continue
        if not _is_slip(first, second):
            return False
        slips += 1
    return slips <= 1


def _stems(word: str) -> set[str]:
    """Returns what a word may be a form of: itself, and itself without a plural's or a verb's ending."""
    stems = {word}
    for ending in ("s", "es", "ing", "ed"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) >= 3 and not word.endswith("ss"):
            stems.add(stem)
            if ending in ("ing", "ed"):
                stems.add(f"{stem}e")  # moving: move
                if stem[-1] == stem[-2] and stem[-1] not in _VOWELS:
                    stems.add(stem[:-1])  # sitting: sit
    if word.endswith("ies") and len(word) > 4:
        stems.add(f"{word[:-3]}y")
    return stems


def _is_slip(one: str, other: str) -> bool:
    """Tells whether two words differ by one slip of the pen."""
    short, long = sorted((one, other), key=len)
    if len(short) < SLIP_FROM or len(long) > len(short) + 1 or not (one + other).isalpha() or one[0] != other[0]:
        return False
    place = next((k for k in range(len(short)) if short[k] != long[k]), len(short))  # where they part
    if len(long) > len(short):
        if short[place:] != long[place + 1 :]:
            return False
        return len(short) >= ANY_SLIP_FROM or long[place] == long[place - 1]
    swapped = short[place : place + 2] == long[place : place + 2][::-1] and short[place + 2 :] == long[place + 2 :]
    return swapped or (len(short) >= ANY_SLIP_FROM and short[place + 1 :] == long[place + 1 :])
