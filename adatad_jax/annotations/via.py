"""VIA 3 (VGG Image Annotator for video): its CSV and its JSON project."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from adatad_jax.annotations.records import Found, finite_number
from adatad_jax.annotations.source import Source
from adatad_jax.errors import UserError

_HEADER = re.compile(r"^#?\s*(?:CSV_HEADER\s*=\s*)?metadata_id,file_list,", re.MULTILINE)
_ATTRIBUTES = re.compile(r"^#\s*ATTRIBUTES?\s*=\s*(\{.*\})\s*$", re.MULTILINE)
COLUMNS = ("metadata_id", "file_list", "flags", "temporal_coordinates", "spatial_coordinates", "metadata")
PARTS = ("project", "file", "view", "metadata")  # of a JSON project


class _Entry(NamedTuple):
    """One piece of metadata: files, times, what is drawn, and attribute -> value."""

    where: str
    files: list[str]
    times: list[Any]
    shape: list[Any]
    values: Mapping[str, Any]


def fits_csv(source: Source) -> bool:
    """Tells whether the file names VIA's columns, in a comment or as a header."""
    return source.json is None and _HEADER.search(source.text) is not None


def fits_json(source: Source) -> bool:
    """Tells whether the file is a VIA 3 project."""
    return isinstance(source.json, dict) and all(isinstance(source.json.get(part), dict) for part in PARTS)


def read_csv(source: Source, found: Found) -> None:
    """Reads the CSV: two times are a segment, one is a point event. Values are texts, or options with a text."""
    attributes: dict[str, Any] = {}
    if match := _ATTRIBUTES.search(source.text):
        try:
            attributes = json.loads(match[1])
        except ValueError:
            found.notes.append("the attributes in the comments cannot be read, so options keep their numbers")
    _add(list(_csv_entries(source, found)), attributes, source, found)


def read_json(source: Source, found: Found) -> None:
    """Reads a project: as `read_csv`, with the texts of its options."""
    project = source.json
    files = {key: str(value.get("fname") or value.get("src") or "") for key, value in project["file"].items()}
    views = {
        key: [files.get(str(one), "") for one in view.get("fid_list", [])] for key, view in project["view"].items()
    }
    entries = []
    for key, value in project["metadata"].items():
        where = f'metadata "{key}"'
        try:
            entry = _Entry(where, views.get(str(value["vid"]), []), list(value["z"]), list(value["xy"]), value["av"])
            entries.append(entry)
        except (KeyError, TypeError, AttributeError):
            found.wrong(f"{where}: {json.dumps(value)[:80]}, expected an object with vid, z, xy and av")
    used = {file for entry in entries for file in entry.files}
    attributes = project.get("attribute")
    _add(entries, attributes if isinstance(attributes, dict) else {}, source, found)
    for key, names in views.items():
        for name in names:
            if name and name not in used:
                found.add_bare(f'view "{key}"', name)


def _csv_entries(source: Source, found: Found) -> Iterator[_Entry]:
    """Yields the entries of the CSV, which holds JSON in its columns."""
    reader = csv.reader(source.text.split("\n"), strict=True)
    try:
        for values in reader:
            where = f"line {reader.line_num}"
            if not any(values) or values[0].lstrip().startswith("#") or values[0] == COLUMNS[0]:
                continue
            try:
                files, times, shape, attributes = (json.loads(values[column]) for column in (1, 3, 4, 5))
                if not (isinstance(files, list) and isinstance(times, list) and isinstance(attributes, dict)):
                    raise ValueError
            except (ValueError, IndexError):
                text = ",".join(values)[:80]
                found.wrong(f"{where}: {text}, expected the columns {', '.join(COLUMNS)}, with JSON in them")
                continue
            yield _Entry(where, [str(file) for file in files], times, shape, attributes)
    except csv.Error as error:
        raise UserError(f"{source.path}: line {reader.line_num}: not a table ({error})") from None


def _add(entries: list[_Entry], attributes: Mapping[str, Any], source: Source, found: Found) -> None:
    """Adds the entries that have times; what is only drawn into frames is counted in a note."""
    timed = [entry for entry in entries if entry.times and not entry.shape]
    drawn = sum(bool(entry.shape) for entry in entries)
    if drawn:
        found.notes.append(f"{drawn} shapes drawn into frames are left out: they mark a place, not a segment")
    chosen = _attribute(timed, attributes, source, found)
    for entry in timed:
        value = entry.values.get(chosen, "")
        files = entry.files or [""]
        if len(entry.times) > 2 or any(finite_number(time) is None for time in entry.times):
            found.wrong(f"{entry.where}: the times are {entry.times}, expected one or two numbers of seconds")
            continue
        for label in _texts(str(value), attributes.get(chosen)):
            found.add(entry.where, files[0], float(entry.times[0]), float(entry.times[-1]), label)


def _attribute(entries: list[_Entry], attributes: Mapping[str, Any], source: Source, found: Found) -> str:
    """Returns the attribute that gives the labels: the only one that is used, or that of `label_from`."""
    used = sorted({key for entry in entries for key, value in entry.values.items() if value != ""})
    names = {key: _name(attributes.get(key)) for key in used}
    choice = found.options.label_from
    chosen = [key for key in used if choice in (key, names[key])] if choice else used
    if len(chosen) == 1:
        return chosen[0]
    each = ", ".join(f'{key} ("{names[key]}")' if names[key] else key for key in used)
    if choice:
        raise UserError(f"{source.path}: no attribute {choice!r} gives labels; the segments have the attributes {each}")
    if len(chosen) > 1:
        raise UserError(
            f"{source.path}: the segments have several attributes, {each}: choose the one that gives the labels with "
            "--label-from (config.data.label_from)"
        )
    return ""


def _name(attribute: Any) -> str:
    """Returns the name of an attribute, which old versions write in place of the attribute."""
    if isinstance(attribute, dict):
        return str(attribute.get("aname", ""))
    return str(attribute or "")


def _texts(value: str, attribute: Any) -> list[str]:
    """Returns the labels that a value stands for: the text itself, or the texts of the options that are ticked."""
    options = attribute.get("options") if isinstance(attribute, dict) else None
    if not isinstance(options, dict) or not options:
        return [value.strip()]
    if value in options:
        return [str(options[value]).strip()]
    ticked = [part for part in value.split(",") if part]
    if ticked and all(part in options for part in ticked):  # a field of boxes to tick
        return [str(options[part]).strip() for part in ticked]
    return [value.strip()]
