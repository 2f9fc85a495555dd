"""Reading of text files: their encoding, and JSON with the keys that it repeats."""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from adatad_jax.annotations.binary_files import binary_kind
from adatad_jax.errors import UserError, one_line
from adatad_jax.video.spelling import normal_json, normal_text

ANNOTATIONS = "ActivityNet-style annotations, or a table video,start,end,label"
# The longer marks first: that of UTF-16 begins that of UTF-32.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARED = re.compile(rb"<\?xml[^>]*\sencoding\s*=\s*[\"'](?P<name>[\w.:-]+)[\"']")  # of an XML file
_SAMPLE = 1000  # bytes that show an encoding


def read_text(path: Path) -> str:
    """Reads a text file: UTF-8 or UTF-16, with or without a byte-order mark, UTF-32 with one, or XML's own.

    Returns:
      The text in the Unicode normal form of names; its lines end with a line feed.

    Raises:
      UserError: the file is missing, a folder, a pickle or another file that is no text, unreadable, or in another
        encoding.
    """
    if path.is_dir():
        raise UserError(f"{path}: a folder, expected one annotation file, JSON or CSV; give the file itself")
    try:
        content = path.read_bytes()
        text = content.decode(_encoding(content)).replace("\r\n", "\n").replace("\r", "\n")
        return normal_text(text, path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check its permissions and its disk") from None
    except UnicodeDecodeError as error:
        if kind := binary_kind(path):
            raise UserError(f"{path}: {kind.words}, expected a text file; unpack it, or save it as CSV") from None
        raise UserError(f"{path}: not UTF-8, nor UTF-16 ({one_line(error)}); save it as UTF-8") from None


def read_json(path: Path, expected: str = ANNOTATIONS) -> tuple[Any, list[str]]:
    """Reads a JSON file.

    Args:
      path: the file.
      expected: what the file should hold, in words, for the message.

    Returns:
      The parsed content, and the keys that occur more than once in one JSON object (JSON readers silently keep the last
      value).

    Raises:
      UserError: as `read_text`, or the file is not JSON.
    """
    return parse_json(read_text(path), path, expected)


def parse_json(text: str, path: Path, expected: str = ANNOTATIONS) -> tuple[Any, list[str]]:
    """Parses the text of a JSON file as `read_json` does; `path` is for the message."""
    repeated: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(pairs)
        if len(mapping) < len(pairs):
            repeated.extend(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        return mapping

    try:
        content = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:  # a number with thousands of digits is a ValueError too
        raise UserError(f"{path}: not a JSON file ({one_line(error)}); expected {expected}") from None
    if "\\u" in text:  # escapes, which `read_text` leaves as they are
        content, alike = normal_json(content, path)
        repeated += alike
    return content, repeated


def _encoding(content: bytes) -> str:
    """Recognises UTF-16 and UTF-32, as spreadsheet programs write them, by a mark or by the zeros of plain letters.

    Otherwise it is what an XML file declares, or UTF-8.
    """
    for mark, name in MARKS:
        if content.startswith(mark):
            return name
    zeros = [content[side:_SAMPLE:2].count(0) * 4 > len(content[:_SAMPLE]) for side in (0, 1)]
    if wide := {(True, False): "utf-16-be", (False, True): "utf-16-le"}.get((zeros[0], zeros[1])):
        return wide
    declared = _DECLARED.match(content)
    name = declared["name"].decode("ascii", "replace") if declared else "utf-8"
    try:
        "".encode(name)  # refuses what is no encoding of text
    except LookupError:
        name = "utf-8"
    return "utf-8-sig" if codecs.lookup(name).name == "utf-8" else name
