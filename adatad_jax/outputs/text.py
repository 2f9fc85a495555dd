"""Names of any kind on one line, and in a font that has their characters."""

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

MISSING = "\N{WHITE SQUARE}"
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
# Fonts whose pictures of characters are not the characters.
_STAND_INS = ("Last Resort High-Efficiency", "STIXNonUnicode")


def flat(text: str) -> str:
    """On one line, without control characters and halves of surrogate pairs, which no text file may hold."""
    return "".join(char for char in " ".join(text.split()) if unicodedata.category(char) not in ("Cc", "Cs"))


def shortened(text: str, length: int) -> str:
    """At most so many characters, the last an ellipsis if some are cut off."""
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}{ELLIPSIS}"


def drawable(texts: Sequence[str]) -> tuple[list[str], Path]:
    """The texts, flat, as one font can draw them, and the file of that font.

    The font is DejaVu Sans, which comes with matplotlib, or where it lacks characters the installed one that lacks the
    fewest. What that one lacks becomes white squares.
    """
    lines = [flat(text) for text in texts]
    wanted = frozenset(ord(char) for line in lines for char in line)
    path = _font_for(wanted)
    lacking = {code: _stand_in(chr(code)) for code in wanted - _characters(path)}
    return [line.translate(lacking) for line in lines], Path(path)


@lru_cache(maxsize=64)
def _font_for(wanted: frozenset[int]) -> str:
    usual = str(font_manager.findfont("DejaVu Sans"))
    wanted = frozenset(code for code in wanted if _stand_in(chr(code)))
    best, fewest = usual, len(wanted - _characters(usual))
    entries = font_manager.fontManager.ttflist if fewest else []
    regular = {(font.name, font.fname) for font in entries if font.style == "normal" and font.weight in (400, "normal")}
    for name, path in sorted(regular):
        if name not in _STAND_INS and (lacks := len(wanted - _characters(path))) < fewest:
            best, fewest = path, lacks
    return best


@lru_cache(maxsize=2)
def _characters(path: str) -> frozenset[int]:
    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):  # a font that was removed, or is damaged
        return frozenset()


def _stand_in(char: str) -> str:
    """Joiners, marks of direction and selectors of a variant are left out: they only change how others look."""
    return "" if unicodedata.category(char) == "Cf" or unicodedata.name(char, "").startswith("VARIATION") else MISSING
