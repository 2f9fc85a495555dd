"""One Unicode normal form (NFC) for names of videos, labels and subsets.

macOS and some tools write an accented letter as two characters, others as one. The two look alike, so they count as
one name wherever names are compared: files are read in the normal form.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from adatad_jax.errors import few

_logger = logging.getLogger(__name__)


def normal(text: str) -> str:
    """Returns a text in the Unicode normal form in which names are compared, NFC."""
    return unicodedata.normalize("NFC", text)


def shown(name: str) -> str:
    """Returns a name as messages write it, such that two Unicode forms of one name can be told apart."""
    return name if name == normal(name) else f"{name!a} (another Unicode form)"


def normal_text(text: str, path: Path) -> str:
    """Returns the content of a file in the normal form; a warning lists the words that it spells in two forms."""
    if unicodedata.is_normalized("NFC", text):
        return text
    _warn_of_two_forms(re.split(r'[",;:\t\r\n]+', text), path)
    return normal(text)


def normal_json(content: Any, path: Path) -> tuple[Any, list[str]]:
    """Brings the strings of parsed JSON, which may have been written as escapes, into the normal form.

    Args:
      content: as `json.loads` returns it.
      path: its file, for the warning about strings that it spells in two forms.

    Returns:
      The content; and the keys of which one JSON object holds several forms (the last one's value is kept).
    """
    words: list[str] = []
    repeated: list[str] = []

    def visit(value: Any) -> Any:
        if isinstance(value, str):
            words.append(value)
            return normal(value)
        if isinstance(value, list):
            return [visit(item) for item in value]
        if isinstance(value, dict):
            words.extend(value)
            mapping = {normal(key): visit(item) for key, item in value.items()}
            if len(mapping) < len(value):
                keys = [normal(key) for key in value]
                repeated.extend(key for key in mapping if keys.count(key) > 1)
            return mapping
        return value

    result = visit(content)
    _warn_of_two_forms(words, path)
    return result, repeated


def _warn_of_two_forms(words: Iterable[str], path: Path) -> None:
    forms: dict[str, set[str]] = defaultdict(set)
    for word in words:
        if not word.isascii():
            forms[normal(word.strip())].add(word.strip())
    if double := [name for name, spelled in forms.items() if len(spelled) > 1]:
        _logger.warning("%s: spelled in two Unicode forms that look alike, taken as one: %s", path, few(double))
