"""Writes an annotation file and reads it."""

from pathlib import Path
from typing import Any

from adatad_jax.annotations.recognise import read_annotations
from adatad_jax.annotations.records import AnnotationFile, Options

Plain = list[tuple[Any, ...]]


def read(path: Path, content: str | bytes = "", **options: Any) -> AnnotationFile:
    """Reads a file, after writing it if a content is given."""
    if content:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_annotations(path, Options(**options))


def plain(file: AnnotationFile) -> Plain:
    """Returns (video, start, end, label) of each row; (video,) where it has no segment."""
    assert not file.problems, file.problems
    return [(row.video, *row.segment, row.label) if row.segment else (row.video,) for row in file.rows]
