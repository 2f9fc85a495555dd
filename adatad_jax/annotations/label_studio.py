"""Label Studio: its JSON, JSON-MIN and CSV exports of videos with timeline labels, time ranges or boxes over time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adatad_jax.annotations.names import plain_name
from adatad_jax.annotations.records import Found, Unit, finite_number
from adatad_jax.annotations.source import Line, Source
from adatad_jax.errors import one_line
from adatad_jax.video.names import EXTENSIONS

LABELS = ("timelinelabels", "labels", "videolabels", "timeserieslabels")  # what a region calls its labels
# What a task's data may tell beside the video: the rate that its frames count, and its subset.
RATE, SUBSET = "fps", "subset"
# What JSON-MIN and CSV add to a task's data and labels.
_ADDED = ("annotation_id", "annotator", "created_at", "updated_at", "lead_time")
_JSON = re.compile(r'\[\s*(?:\{|$)|\{\s*(?:"|$)')  # how JSON with regions begins, unlike a text in brackets


@dataclass(frozen=True)
class _Annotation:
    """One annotator's work on a task.

    Attributes:
      key: its number, which grows with each new one.
      updated: when it was changed last, as text that sorts by time.
      chosen: whether it is marked as ground truth.
      regions: the values of its regions.
    """

    key: float
    updated: str
    chosen: bool
    regions: tuple[Any, ...]


@dataclass
class _Task:
    """A video, and the work on it."""

    where: str
    data: Mapping[str, Any]
    annotations: list[_Annotation] = field(default_factory=list)
    cancelled: int = 0
    predicted: tuple[Any, ...] = ()


def fits_json(source: Source) -> bool:
    """Tells whether the file is a list of tasks with data and annotations."""
    tasks = _objects(source)
    return bool(tasks) and all(
        isinstance(task.get("data"), dict) and {"annotations", "completions", "predictions"} & set(task)
        for task in tasks
    )


def fits_min(source: Source) -> bool:
    """Tells whether the file is a list of annotations with the data of their tasks."""
    return any("annotation_id" in item or any(map(_is_regions, item.values())) for item in _objects(source))


def fits_csv(source: Source) -> bool:
    """Tells whether the file is a table of annotations."""
    return source.has_columns("annotation_id", "annotator")


def read_json(source: Source, found: Found) -> None:
    """Reads the JSON export. Skipped annotations are left out; of several on a task, one counts (`_add`)."""
    tasks = []
    for number, item in enumerate(_objects(source), 1):
        task = _Task(f"task {item.get('id', number)}", item["data"])
        done = item.get("annotations", item.get("completions"))
        for annotation in _list_of_objects(done, task, "annotations", found):
            if annotation.get("was_cancelled"):
                task.cancelled += 1
            else:
                task.annotations.append(_annotation(annotation, _values(annotation, task, found)))
        guesses = item.get("predictions")
        if isinstance(guesses, list) and guesses and isinstance(guesses[-1], dict):
            task.predicted = _values(guesses[-1], task, found)
        tasks.append(task)
    _add(tasks, found)


def read_min(source: Source, found: Found) -> None:
    """Reads the JSON-MIN export: an item per annotation, with the data of its task."""
    _add(_grouped((f"item {number}", item) for number, item in enumerate(_objects(source), 1)), found)


def read_csv(source: Source, found: Found) -> None:
    """Reads the CSV export: a line per annotation, with JSON where the labels are."""

    def parsed(line: Line, name: str) -> Any:
        text = line.fields[name]
        try:
            return json.loads(text) if text.startswith(("[", "{")) else text
        except ValueError as error:
            if _JSON.match(text):
                what = f'{line.where}: the column "{name}" holds JSON that is damaged or cut short ({one_line(error)})'
                found.wrong(f"{what}, expected that of the export: export it again", _video(line.fields))
            return text

    lines = source.whole_rows(found)
    _add(_grouped((line.where, {name: parsed(line, name) for name in line.fields}) for line in lines), found)


def _objects(source: Source) -> list[dict[str, Any]]:
    """Returns the objects of a JSON list; none if the file is anything else."""
    content = source.json
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        return []
    return content


def _is_regions(value: Any) -> bool:
    """Tells whether a value of an item is a list of regions in time."""
    return (
        isinstance(value, list)
        and bool(value)
        and any(isinstance(one, dict) and {"ranges", "start", "sequence"} & set(one) for one in value)
    )


def _values(annotation: Mapping[str, Any], task: _Task, found: Found) -> tuple[Any, ...]:
    results = _list_of_objects(annotation.get("result"), task, "result", found)
    return tuple(result.get("value") for result in results)


def _list_of_objects(value: Any, task: _Task, key: str, found: Found) -> list[dict[str, Any]]:
    """Returns the objects of a list; what is neither null nor an object in a list goes to the problems."""
    items = value if isinstance(value, list) else [] if value is None else [value]
    objects = [item for item in items if isinstance(item, dict) and isinstance(value, list)]
    if len(objects) < len(items):
        strange = value if not isinstance(value, list) else next(item for item in items if not isinstance(item, dict))
        text = json.dumps(strange)[:80]
        found.wrong(f'{task.where}: "{key}" holds {text}, expected a list of objects', _video(task.data))
    return objects


def _annotation(item: Mapping[str, Any], regions: tuple[Any, ...]) -> _Annotation:
    key = finite_number(item.get("annotation_id", item.get("id"))) or 0.0
    return _Annotation(key, str(item.get("updated_at") or ""), item.get("ground_truth") is True, regions)


def _grouped(items: Iterator[tuple[str, dict[str, Any]]]) -> list[_Task]:
    """Puts the annotations of one task together."""
    tasks: dict[Any, _Task] = {}
    for where, item in items:
        task = tasks.setdefault(item.get("id") or where, _Task(where, item))
        regions = [one for value in item.values() if _is_regions(value) for one in value]
        task.annotations.append(_annotation(item, tuple(regions)))
    return list(tasks.values())


def _add(tasks: Sequence[_Task], found: Found) -> None:
    """Adds the segments of all tasks; of several annotations, the one marked as ground truth or the latest counts."""
    several, unlabelled, others, predicted = [], [], 0, []
    for task in tasks:
        video = _video(task.data)
        if not video:
            found.wrong(f"{task.where}: no file of a video in its data, {sorted(task.data)}, expected one")
            continue
        found.know(video, fps=task.data.get(RATE))
        if task.annotations:
            chosen = max(task.annotations, key=lambda one: (one.chosen, one.updated, one.key))
            regions = chosen.regions
            if len(task.annotations) > 1:
                several.append(task.where)
        elif task.predicted and not task.cancelled:
            regions = task.predicted
            predicted.append(task.where)
        else:
            unlabelled.append(task.where)
            continue
        before = len(found.rows) + len(found.problems)
        subset = str(task.data.get(SUBSET) or "")
        others += sum(not _add_region(task.where, video, subset, region, found) for region in regions)
        if len(found.rows) + len(found.problems) == before:
            found.add_bare(task.where, video, subset)
    for places, text in (
        (several, "tasks have several annotations; the one marked as ground truth, or the latest, is read"),
        (predicted, "tasks have predictions and no annotation; the latest prediction is read"),
        (unlabelled, "tasks are skipped or not annotated, left out"),
    ):
        if places:
            found.notes.append(f"{len(places)} {text}: {', '.join(places[:5])}{', ...' if len(places) > 5 else ''}")
    if others:
        found.notes.append(f"{others} regions without a time or a label are left out (choices, texts, ratings)")


def _video(data: Mapping[str, Any]) -> str:
    """Returns the video of a task: its field "video", or else the first that names a file with a video's extension."""
    texts = {key: value for key, value in data.items() if isinstance(value, str) and key not in _ADDED}
    if texts.get("video"):
        return str(texts["video"])
    named = (text for text in texts.values() if plain_name(text, keep=True).lower().endswith(EXTENSIONS))
    return next(named, "")


def _add_region(where: str, video: str, subset: str, region: Any, found: Found) -> bool:
    """Adds the segments of a region; returns whether it has any."""
    if not isinstance(region, dict):
        return False
    named: list[Any] = next((region[key] for key in LABELS if isinstance(region.get(key), list)), [])
    labels = [str(label) for label in named]
    spans: list[tuple[Any, Any]]
    unit = Unit.STEPS
    for key in ("ranges", "sequence"):
        items = region.get(key)
        if isinstance(items, list) and not all(isinstance(one, dict) for one in items):
            strange = next(one for one in items if not isinstance(one, dict))
            found.wrong(f'{where}: "{key}" holds {json.dumps(strange)[:80]}, expected a list of objects', video)
            return True
    if isinstance(region.get("ranges"), list):
        spans = [(one.get("start"), one.get("end")) for one in region["ranges"]]
        labels = labels or [""]  # a range without a label is a mistake; the row's check says so
    elif isinstance(region.get("sequence"), list):
        spans = list(_lifespans(region))
        count, duration = (finite_number(region.get(key)) for key in ("framesCount", "duration"))
        if count and duration and video not in found.lengths:
            found.know(video, duration=duration, fps=count / duration)
    elif "start" in region and "end" in region:
        spans, unit = [(region["start"], region["end"])], Unit.SECONDS
    else:
        return False
    for start, end in spans:
        for label in labels:
            found.add(where, video, start, end, label, subset, unit)
    return bool(spans and labels)


def _lifespans(region: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Yields the frames from which to which a box over time is seen: until a key frame that switches it off."""
    start = None
    for key in sorted(region["sequence"], key=lambda key: finite_number(key.get("frame")) or 0):
        if start is None:
            start = key.get("frame")
        if key.get("enabled") is False:
            yield start, key.get("frame")
            start = None
    if start is not None:
        yield start, region.get("framesCount")
