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
TEXT = 1  # type of an attribute that is a field of text
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
    """Reads a project: as `read_csv`, with the texts of its options.

    A view without metadata is a video without segments.

    Raises:
      UserError: a file, a view or the attributes are not what VIA writes; the text names the key.
    """
    project = source.json
    attributes = project.get("attribute", {})
    if not isinstance(attributes, dict):
        raise UserError(
            f"{source.path}: attribute is {_shown(attributes)}, expected an object; export the project anew"
        )
    views = _views(source)
    entries = []
    for key, value in project["metadata"].items():
        where = f'metadata "{key}"'
        parts: list[Any] = [value.get(part) for part in ("z", "xy", "av")] if isinstance(value, dict) else []
        if [type(part) for part in parts] == [list, list, dict] and "vid" in value:
            entries.append(_Entry(where, views.get(str(value["vid"]), []), parts[0], parts[1], parts[2]))
        else:
            found.wrong(f"{where}: {_shown(value)}, expected an object with vid, the lists z and xy, and the object av")
    used = {file for entry in entries for file in entry.files}
    _add(entries, attributes, source, found)
    for key, names in views.items():
        if used.isdisjoint(names) and any(names):
            if len(names) > 1:
                found.wrong(_several(f'view "{key}"', names))
            else:
                found.add_bare(f'view "{key}"', names[0])


def _views(source: Source) -> dict[str, list[str]]:
    """Returns view -> names of its files, of a project."""
    files = {}
    for key, value in source.json["file"].items():
        if not isinstance(value, dict):
            raise UserError(f'{source.path}: file "{key}" is {_shown(value)}, expected an object with fname')
        files[key] = str(value.get("fname") or value.get("src") or "")
    views = {}
    for key, value in source.json["view"].items():
        ids = value.get("fid_list") if isinstance(value, dict) else None
        if not isinstance(ids, list):
            raise UserError(
                f'{source.path}: view "{key}" is {_shown(value)}, expected an object with the list fid_list'
            )
        views[key] = [files.get(str(one), "") for one in ids]
    return views


def _csv_entries(source: Source, found: Found) -> Iterator[_Entry]:
    """Yields the entries of the CSV, which holds JSON in its columns."""
    # Comments hold JSON that is not quoted as a table wants it. An empty line in their place keeps the numbers.
    lines = ("" if line.lstrip().startswith("#") else line for line in source.text.split("\n"))
    reader = csv.reader(lines, strict=True)
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
        file = entry.files[0] if entry.files else ""
        if len(entry.files) > 1:
            found.wrong(_several(entry.where, entry.files), file)
            continue
        if len(entry.times) > 2 or any(finite_number(time) is None for time in entry.times):
            found.wrong(f"{entry.where}: the times are {entry.times}, expected one or two numbers of seconds", file)
            continue
        try:
            labels = _texts(entry.values.get(chosen, ""), attributes.get(chosen))
        except ValueError as error:
            found.wrong(f"{entry.where}: attribute {chosen} is {error}", file)
            continue
        for label in labels:
            found.add(entry.where, file, float(entry.times[0]), float(entry.times[-1]), label)


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


def _texts(value: Any, attribute: Any) -> list[str]:
    """Returns the labels that a value stands for: the text itself, or the texts of the options that are ticked.

    Raises:
      ValueError: the value is neither a text nor a number, or an option that there is not; the text says what, for the
        end of a message.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{_shown(value)}, expected a text or the number of an option")
    text = str(value).strip()
    options = attribute.get("options") if isinstance(attribute, dict) else None
    if not isinstance(options, dict) or not options:
        return [text]
    if text in options:
        return [str(options[text]).strip()]
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if parts and all(part in options for part in parts):  # a field of boxes to tick
        return [str(options[part]).strip() for part in parts]
    # What is typed into a field of text may be a number; elsewhere numbers are those of options.
    if attribute.get("type") != TEXT and parts and all(part.isdecimal() for part in parts):
        each = ", ".join(f"{key} ({option})" for key, option in options.items())
        raise ValueError(f'"{text}", expected one of its options {each}')
    return [text]


def _several(where: str, files: list[str]) -> str:
    return f"{where}: times run over several files ({', '.join(files)}), expected one; make a view for each file"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:80]
