"""Arbitrary names as one line of text, in a font that has their characters."""

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

MISSING = "\N{WHITE SQUARE}"
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
# Fonts whose glyphs do not depict the characters that they are listed for.
_STAND_INS = ("Last Resort High-Efficiency", "STIXNonUnicode")


def flat(text: str) -> str:
    """Puts a text on one line, without control characters and lone surrogates, which no text file may hold."""
    return "".join(char for char in " ".join(text.split()) if unicodedata.category(char) not in ("Cc", "Cs"))


def shortened(text: str, length: int) -> str:
    """Cuts a text to at most `length` characters, the last an ellipsis if any are cut off."""
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}{ELLIPSIS}"


def drawable(texts: Sequence[str]) -> tuple[list[str], Path]:
    """Prepares texts for drawing in one font.

    The font is DejaVu Sans, which comes with matplotlib, or, where it lacks characters, the installed font that lacks
    the fewest. Characters that the chosen font lacks become white squares.

    Args:
      texts: the texts, drawn together.

    Returns:
      The texts, each on one line, and the file of the font.
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
    except (OSError, RuntimeError):  # the font was removed, or is damaged
        return frozenset()


def _stand_in(char: str) -> str:
    """Returns a white square, or nothing for joiners, direction marks and variation selectors, which draw nothing."""
    return "" if unicodedata.category(char) == "Cf" or unicodedata.name(char, "").startswith("VARIATION") else MISSING
