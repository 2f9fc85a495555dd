"""The formats of annotation files, and which of them a file has."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from adatad_jax.annotations import (
    boris,
    charades,
    cvat,
    database,
    detections,
    elan,
    epic_kitchens,
    gmdcsa24,
    label_studio,
    soccernet,
    table,
    thumos,
    via,
)
from adatad_jax.annotations.format_keys import AUTO, KEYS
from adatad_jax.annotations.names import plain_name
from adatad_jax.annotations.records import AnnotationFile, Found, Options, Row
from adatad_jax.annotations.source import Source, open_source
from adatad_jax.errors import UserError, few, listed

# Files of a folder that may hold annotations.
SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".xml")


class Format(NamedTuple):
    """A format of annotation files.

    Attributes:
      key: what the option `format` takes.
      name: what messages call it.
      fits: tells whether a file has the format.
      read: reads a file that has it.
      chooses: whether the option `label_from` has a meaning.
    """

    key: str
    name: str
    fits: Callable[[Source], bool]
    read: Callable[[Source, Found], None]
    chooses: bool = False


TABLE = Format("table", "a table video,start,end,label", table.fits, table.read)
DATABASE = Format("activitynet", "ActivityNet-style JSON", database.fits, database.read)
DETECTIONS = Format("detections", "detections", detections.fits, detections.read)
THUMOS = Format("thumos", "THUMOS text", thumos.fits, thumos.read)
FORMATS = (
    TABLE,
    DATABASE,
    DETECTIONS,
    Format("boris", "BORIS aggregated events", boris.fits_aggregated, boris.read_aggregated),
    Format("boris-events", "a BORIS list of events", boris.fits_events, boris.read_events),
    Format("elan", "ELAN tab-separated text", elan.fits, elan.read, chooses=True),
    Format("via-csv", "VIA 3 CSV", via.fits_csv, via.read_csv, chooses=True),
    Format("via", "a VIA 3 project", via.fits_json, via.read_json, chooses=True),
    Format("label-studio", "Label Studio JSON", label_studio.fits_json, label_studio.read_json),
    Format("label-studio-min", "Label Studio JSON-MIN", label_studio.fits_min, label_studio.read_min),
    Format("label-studio-csv", "Label Studio CSV", label_studio.fits_csv, label_studio.read_csv),
    Format("cvat", "CVAT XML", cvat.fits, cvat.read),
    Format("charades", "Charades CSV", charades.fits, charades.read),
    Format("epic-kitchens", "EPIC-Kitchens-100 CSV", epic_kitchens.fits, epic_kitchens.read, chooses=True),
    THUMOS,
    Format("soccernet", "SoccerNet labels", soccernet.fits, soccernet.read),
    Format("gmdcsa24", "GMDCSA24 CSV", gmdcsa24.fits, gmdcsa24.read),
)


def read_annotations(path: Path, options: Options) -> AnnotationFile:
    """Reads an annotation file of any of `FORMATS`, or all those in a folder and its subfolders.

    Point events are a problem where `options.point_seconds` is 0.

    Args:
      path: the file or folder. In a folder, files with another suffix than `SUFFIXES` and files of no format are left
        alone; a note lists the latter.
      options: how to read it.

    Returns:
      What the file holds, with what is wrong with its rows (`AnnotationFile.check` raises that).

    Raises:
      UserError: the file is missing, has no or several formats, or cannot be read at all.
    """
    if path.is_dir():
        file = _read_folder(path, options)
    else:
        source = open_source(path)
        file = _read(source, _the_format(source, options), options)
    if not file.rows and not file.problems:
        notes = "".join(f"\n  {note}" for note in file.notes)
        raise UserError(f"{path}: read as {file.name}, and holds no segment of any video{notes}")
    return file


def format_of(path: Path, options: Options) -> Format | None:
    """Returns the format of a file; None for a folder. Raises `UserError` as `read_annotations`."""
    return None if path.is_dir() else _the_format(open_source(path), options)


def _the_format(source: Source, options: Options) -> Format:
    """Returns the format that is asked for, or the only one that fits."""
    if options.format != AUTO:
        return _by_key(options.format)
    fitting = [one for one in FORMATS if one.fits(source)]
    if len(fitting) > 1:
        each = " and as ".join(f"{one.name} ({one.key})" for one in fitting)
        raise UserError(
            f"{source.path}: can be read as {each}; choose one with --format {fitting[0].key} (in a configuration "
            f"--config.data.format={fitting[0].key})"
        )
    if fitting:
        return fitting[0]
    if source.xml is not None:
        raise UserError(f"{source.path}: XML with the root {source.xml.tag}, expected CVAT's annotations")
    # The errors of these two say what the usual forms are.
    usual = DATABASE if source.text.lstrip().startswith(("{", "[")) else TABLE
    try:
        usual.read(source, Found(source.path, options))
    except UserError as error:
        others = ", ".join(one.name for one in FORMATS if one is not usual)
        raise UserError(f"{error}. Recognised by their content are, too: {others}") from None
    return usual


def _by_key(key: str) -> Format:
    for one in FORMATS:
        if one.key == key:
            return one
    raise UserError(f"no format {key!r} of annotation files; expected one of {', '.join(KEYS)}")


def _read(source: Source, chosen: Format, options: Options) -> AnnotationFile:
    if options.label_from and not chosen.chooses:
        raise UserError(
            f"{source.path}: read as {chosen.name}, which has one kind of labels, but labels from "
            f"{options.label_from!r} are asked for; leave out --label-from (config.data.label_from)"
        )
    if options.format != AUTO and not chosen.fits(source) and chosen not in (TABLE, DATABASE):
        raise UserError(f"{source.path}: not {chosen.name} ({chosen.key}); leave out --format (config.data.format)")
    found = Found(source.path, options)
    chosen.read(source, found)
    if not options.point_seconds:
        _refuse_points(found)
    return AnnotationFile(
        path=source.path,
        key=chosen.key,
        name=found.name or chosen.name,
        rows=tuple(found.rows),
        problems=tuple(found.problems),
        spoilt=found.spoilt,
        notes=tuple(found.notes),
        lengths=found.lengths,
        aliases=found.aliases,
        point_seconds=options.point_seconds,
    )


def _refuse_points(found: Found) -> None:
    """Moves point events to the problems."""
    points = [row for row in found.rows if row.segment is not None and row.segment[0] == row.segment[1]]
    for row in points:
        assert row.segment is not None
        found.wrong(
            f'{row.where}: "{row.label}" ends at {row.segment[1]:g}, expected after its start at {row.segment[0]:g}: a '
            "point event"
        )
    if points:
        found.wrong(
            f"point events ({len(points)}) have no length: give them one, in seconds, with --point-seconds 1 (in a "
            "configuration --config.data.point_seconds=1), or remove them"
        )
        found.rows = [row for row in found.rows if row not in set(points)]


def _read_folder(folder: Path, options: Options) -> AnnotationFile:
    """Reads all annotation files in a folder as one."""
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    )
    wanted = FORMATS if options.format == AUTO else [_by_key(options.format)]
    detected = {path for path in paths if path.suffix == ".json" and DETECTIONS.fits(Source(path))}
    files: list[AnnotationFile] = []
    strange: list[Source] = []
    for path in paths:
        if path.suffix == ".csv" and path.with_suffix(".json") in detected:
            continue  # `detect` writes both
        source = Source(path)
        if any(one.fits(source) for one in wanted):
            files.append(_read(source, _the_format(source, options), options))
        elif THUMOS in wanted and _holds_thumos(source, options):
            files.append(_read(source, THUMOS, options._replace(format=AUTO)))  # its problems name the wrong lines
        else:
            strange.append(source)
    _refuse_damaged(strange, [file.path for file in files])
    if not files:
        raise UserError(
            f"{folder}: a folder without annotation files, expected one file, or a folder of files of one of these "
            f"formats: {', '.join(one.name for one in wanted)}"
        )
    return _joined(folder, files, [str(one.path.relative_to(folder)) for one in strange], options)


def _holds_thumos(source: Source, options: Options) -> bool:
    """Tells whether most lines of a text without columns are THUMOS' segments."""
    if source.xml is not None or source.json is not None or len(source.table.header) > 1:
        return False
    found = Found(source.path, options)
    thumos.read(source, found)
    return len(found.rows) > len(found.problems)


def _refuse_damaged(strange: Sequence[Source], read: Sequence[Path]) -> None:
    """Raises `UserError` if a file without annotations begins as JSON, or is named like one with annotations.

    Such a file is damaged rather than of another kind: its videos would be missing.
    """
    known = {one: path for path in read for one in _kinds_of_name(path)}
    for source in strange:
        if source.json is None and (source.path.suffix.lower() == ".json" or source.text.lstrip().startswith("{")):
            raise UserError(
                f"{source.path}: not a whole JSON file; export it again, or move it out of the folder of annotations"
            )
        if alike := next((known[one] for one in _kinds_of_name(source.path) if one in known), None):
            raise UserError(
                f"{source.path}: named like {alike.name}, but holds no annotations that can be read; export it again, "
                "or move it out of the folder of annotations"
            )


def _kinds_of_name(path: Path) -> list[str]:
    """Returns what names of a kind have in common: all but their numbers, or the part after the last `_`."""
    stem, suffix = path.stem, path.suffix.lower()
    kinds = [re.sub(r"\d+", "#", stem) + suffix] if re.search(r"\d", stem) else []
    tail = stem.rpartition("_")
    return [*kinds, f"*_{tail[2]}{suffix}"] if tail[1] and tail[2].isalpha() else kinds


def _rows_once(files: Sequence[AnnotationFile], place: Mapping[Path, str], notes: list[str]) -> tuple[Row, ...]:
    """Returns the rows of all files, with segments that an earlier file has left out, and a note that counts these."""
    rows: list[Row] = []
    twice: list[str] = []
    first: dict[Row, Path] = {}
    for file in files:
        for row in file.rows:
            where = f"{place[file.path]}, {row.where}"
            key = row._replace(where="", video=plain_name(row.video))
            if row.segment and first.setdefault(key, file.path) != file.path:
                twice.append(f"{where}, as in {place[first[key]]}")
            else:
                rows.append(row._replace(where=where))
    if twice:
        notes.append(f"{len(twice)} segments are in several of the files, read once:{listed(twice)}")
    return tuple(rows)


def _joined(folder: Path, files: Sequence[AnnotationFile], strange: Sequence[str], options: Options) -> AnnotationFile:
    """Puts the contents of files together; places in messages get the file's name in front."""
    keys = list(dict.fromkeys(file.key for file in files))
    names = list(dict.fromkeys(file.name for file in files))
    place = {file.path: str(file.path.relative_to(folder)) for file in files}
    notes = [f"{place[file.path]}: {note}" for file in files for note in file.notes]
    if strange:
        notes.append(f"not annotations, left alone: {few(strange)}")
    return AnnotationFile(
        path=folder,
        key=keys[0] if len(keys) == 1 else "",
        name=f"{len(files)} files of {' and '.join(names)}",
        rows=_rows_once(files, place, notes),
        problems=tuple(f"{place[file.path]}, {problem}" for file in files for problem in file.problems),
        spoilt={f"{place[file.path]}, {problem}": video for file in files for problem, video in file.spoilt.items()},
        notes=tuple(notes),
        lengths={video: length for file in files for video, length in file.lengths.items()},
        aliases={video: names for file in files for video, names in file.aliases.items()},
        point_seconds=options.point_seconds,
    )
