"""Results files of this project or any other tool: the detections of each video.

`results_forms` states the forms that are read, and `results_labels` how labels that are numbers become class names.
Times are in seconds, numbers may be strings, and other keys and columns are ignored.

A file with entries that are not detections is refused, and these are listed; none is left out. Detections that are odd
(reversed, outside their video, of an unknown label) are read, and `oddities.oddities` reports them. A Python pickle is
named, with the line of Python that converts it, and never opened: to open one runs whatever code is in it.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from adatad_jax.annotations.binary_files import BinaryKind, binary_kind
from adatad_jax.errors import UserError, listed
from adatad_jax.evaluation.results_forms import EXPECTED, Parsed, no_detections, parse_results
from adatad_jax.evaluation.results_labels import ClassList, name_labels
from adatad_jax.postprocessing.detections import Detections


class DetectionRow(NamedTuple):
    """A detection with its class name, and start and end in seconds."""

    video: str
    start: float
    end: float
    label: str
    score: float


class Results(NamedTuple):
    """The detections of a results file.

    Attributes:
      detections: detections of each video in the file's order, including videos without any.
      classes: class names that labels index: those of the class list, those of the annotations, then the others as they
        occur, so that nothing is lost.
      notes: remarks on how the file was read.
    """

    detections: dict[str, Detections]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_results(
    path: Path, annotated: Iterable[str] = (), class_list: ClassList | None = None, task: str = ""
) -> Results:
    """Reads the detections of a results file.

    Args:
      path: the file.
      annotated: labels of the annotations.
      class_list: names of labels that are numbers, and the first of the class names; None without a list.
      task: what to measure of an EPIC-Kitchens submission: verb, noun or action; empty for other files.

    Raises:
      UserError: the file does not exist, has another form or holds no detection; or entries of it are not detections,
        or have a number that is missing, NaN or infinite; or a JSON name occurs twice; or labels are numbers that no
        class name can be told for. All wrong entries are counted, and the first ones listed.
    """
    parsed = read_rows(path, task)
    if task and not parsed.is_submission:
        raise UserError(
            f"{path}: its detections have one label each, but --task {task} is for an EPIC-Kitchens submission, whose "
            "detections have verb, noun and action; leave out --task"
        )
    return with_class_names(parsed, tuple(annotated), class_list, path)


def with_class_names(parsed: Parsed, annotated: tuple[str, ...], class_list: ClassList | None, path: Path) -> Results:
    """Gives each detection of a parsed file its class name, and groups them by video.

    Args:
      parsed: the detections, with labels as they are written.
      annotated, class_list: as for `read_results`.
      path: the file, for messages.

    Raises:
      UserError: labels are numbers that no class name can be told for.
    """
    names, notes = name_labels([row.label for row in parsed.rows], annotated, class_list, path)
    classes = dict.fromkeys((*(class_list.names if class_list else ()), *annotated))
    rows = [DetectionRow(*row[:3], name, row.score) for row, name in zip(parsed.rows, names, strict=True)]
    return Results(*detections_by_video(parsed.videos, rows, classes), (*parsed.notes, *notes))


def read_rows(path: Path, task: str = "") -> Parsed:
    """Reads the detections of a results file, with labels as they are written.

    Args:
      path: the file.
      task: as for `read_results`; of no effect in files other than submissions.

    Raises:
      UserError: as `read_results`, but for labels.
    """
    if path.is_dir():
        raise UserError(f"{path}: a folder, expected one results file, JSON or CSV; give the file itself")
    try:
        kind = binary_kind(path)
    except OSError:  # told when the file is read as text
        kind = None
    if kind is not None:
        raise UserError(_advice(path, kind))
    parsed = parse_results(path, task)
    if not parsed.rows:
        error = no_detections(parsed, path)
        raise UserError(f"{error}{':' if parsed.problems else ''}{listed(parsed.problems)}")
    if parsed.problems:
        raise UserError(
            f"{path}: {len(parsed.problems)} entries are no detections, expected a video, a start and an end in "
            "seconds, a label, and a score, all numbers finite; write the file anew without them:"
            f"{listed(parsed.problems)}"
        )
    return parsed


def _advice(path: Path, kind: BinaryKind) -> str:
    """Says what a binary file is, and how to make of it one that is read."""
    if kind.words.startswith("compressed"):
        return f"{path}: {kind.words}; unpack it, and give the file inside"
    if not kind.writes:
        return f"{path}: {kind.words}, expected {EXPECTED}; export it in that form"
    wanted = path.with_suffix(".json")
    if wanted.exists():
        wanted = path.with_name(f"{path.stem}_converted.json")
    expression = kind.writes.format(path=repr(str(path)))
    as_lists = "lambda x: x.to_dict('list') if hasattr(x, 'to_dict') else x.tolist()"
    line = (
        f"import json, pathlib, {', '.join(kind.modules)}; "
        f"pathlib.Path({str(wanted)!r}).write_text(json.dumps({expression}, default={as_lists}))"
    )
    why = (
        "; to open one runs whatever code is in it, so it is never opened here. If you trust who wrote it, "
        if kind.trusted
        else ", which is not read as results. To convert it, "
    )
    return f"{path}: {kind.words}{why}run this line of Python, then give {wanted}:\n  {line}"


def detections_by_video(
    videos: Iterable[str], rows: Sequence[DetectionRow], classes: Iterable[str]
) -> tuple[dict[str, Detections], tuple[str, ...]]:
    """Groups rows into the `Detections` of each video.

    Args:
      videos: names of the videos, including any without a row.
      rows: detections in the videos.
      classes: class names that labels are to index; labels missing from it are appended.

    Returns:
      The detections of each video, and the class names.
    """
    index = {name: k for k, name in enumerate(classes)}
    table: dict[str, list[tuple[float, float, float, int]]] = {video: [] for video in videos}
    for row in rows:
        table[row.video].append((row.start, row.end, row.score, index.setdefault(row.label, len(index))))
    columns = {video: np.array(own, np.float64).reshape(-1, 4) for video, own in table.items()}
    return {video: Detections(own[:, :2], own[:, 2], own[:, 3]) for video, own in columns.items()}, tuple(index)


def results_to_json(results: Mapping[str, Detections], classes: Sequence[str]) -> dict[str, Any]:
    """Returns detections in the ActivityNet results format; videos and detections keep their order.

    Args:
      results: detections of each video.
      classes: class names, indexed by the labels.
    """
    return {
        "version": "VERSION 1.3",
        "results": {
            video: [
                {"segment": segment, "label": classes[label], "score": score}
                for segment, score, label in zip(d.segments.tolist(), d.scores.tolist(), d.labels.tolist(), strict=True)
            ]
            for video, d in results.items()
        },
        "external_data": {},
    }
