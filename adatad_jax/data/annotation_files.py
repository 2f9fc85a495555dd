"""Reading of annotation files: as text or JSON, and in one form, a mapping from video name to annotation.

Other text and JSON files are read by these functions too.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

from adatad_jax.errors import UserError, one_line
from adatad_jax.video.spelling import normal_json, normal_text

# BMN's ActivityNet file is a JSON object keyed by video name. It names durations and frame counts like this, and a
# table beside it holds the subsets.
BMN_NAMES = {"duration_second": "duration", "duration_frame": "frame"}
BMN_TABLE = "video_info_new.csv"
ANNOTATIONS = "ActivityNet-style annotations, or a table video,start,end,label whose name ends in .csv"


def read_text(path: Path) -> str:
    """Reads a text file, with or without a byte-order mark, in the Unicode normal form of names.

    Raises:
      UserError: the file is missing, a folder, unreadable, or not UTF-8.
    """
    if path.is_dir():
        advice = "give the file itself"
        if any(name.endswith(("_val.txt", "_test.txt")) for name in _names_in(path)):
            advice = (
                "THUMOS' own lists have no video lengths and are not read: take the JSON file of OpenTAD's THUMOS-14 "
                "page, or write the lines of the lists into one table video,start,end,label,subset (.csv)"
            )
        raise UserError(f"{path}: a folder, expected one annotation file, JSON or CSV; {advice}")
    try:
        return normal_text(path.read_text(encoding="utf-8-sig"), path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check its permissions and its disk") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({one_line(error)}); save it with that encoding") from None


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
    repeated: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(pairs)
        if len(mapping) < len(pairs):
            repeated.extend(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        return mapping

    try:
        content = json.loads(text := read_text(path), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:  # a number with thousands of digits is a ValueError too
        raise UserError(f"{path}: not a JSON file ({one_line(error)}); expected {expected}") from None
    if "\\u" in text:  # escapes, which `read_text` leaves as they are
        content, alike = normal_json(content, path)
        repeated += alike
    return content, repeated


def by_video(content: Any, path: Path) -> dict[str, Any]:
    """Returns the mapping from video name to annotation: the object "database", or the content itself.

    The latter is the form of BMN's ActivityNet file. Its `duration_second` and `duration_frame` are renamed, and
    subsets are taken from `video_info_new.csv` beside the file.

    Args:
      content: the parsed file.
      path: the file, for messages, and to find the table of subsets.

    Raises:
      UserError: the content has neither form, or subsets are missing.
    """
    if isinstance(content, dict):
        database = content.get("database")
        if isinstance(database, dict) and database:
            return database
        entries = content.values()
        if all(isinstance(entry, dict) for entry in entries) and any("annotations" in entry for entry in entries):
            renamed = {
                name: {BMN_NAMES.get(key, key): value for key, value in entry.items()}
                for name, entry in content.items()
            }
            return _with_subsets(renamed, path)
    found = f"the keys {sorted(content)[:10]}" if isinstance(content, dict) else f"a {type(content).__name__}"
    raise UserError(
        f'{path}: expected a JSON object with a non-empty object "database" (video name -> annotation), or that object '
        f"itself, found {found}; convert the file to that form"
    )


def _names_in(folder: Path) -> list[str]:
    """Returns the names in a folder and in its subfolders."""
    return [path.name for pattern in ("*", "*/*") for path in folder.glob(pattern)]


def _with_subsets(entries: dict[str, Any], path: Path) -> dict[str, Any]:
    """Returns the annotations with missing subsets taken from BMN's table beside the file."""
    lacking = sum("subset" not in entry for entry in entries.values())
    if not lacking:
        return entries
    table = path.with_name(BMN_TABLE)
    if not table.is_file():
        raise UserError(
            f'{path}: there is no object "database", so it was read as video name -> annotation, but {lacking} of '
            f'{len(entries)} videos have no "subset"; add one to each (such as "training" and "validation"), or put '
            f"BMN's {BMN_TABLE}, a table with the columns video and subset, beside the file"
        )
    reader = csv.DictReader(read_text(table).splitlines())
    if not {"video", "subset"} <= set(reader.fieldnames or ()):
        raise UserError(f"{table}: expected the columns video and subset, found {reader.fieldnames}")
    subsets = {row["video"]: {"subset": row["subset"]} for row in reader}
    return {name: {**subsets.get(name, {}), **entry} for name, entry in entries.items()}
