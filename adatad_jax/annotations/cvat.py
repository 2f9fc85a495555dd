"""CVAT: the XML of "CVAT for video 1.1" (tracks) and "CVAT for images 1.1" (tags of frames) of video tasks."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple
from xml.etree.ElementTree import Element

from adatad_jax.annotations.names import plain_name
from adatad_jax.annotations.records import Found, Unit, finite_number
from adatad_jax.annotations.source import Source
from adatad_jax.errors import UserError, few
from adatad_jax.video.names import EXTENSIONS

_STEP = re.compile(r"step\s*=\s*(\d+)")
_FRAME = re.compile(r"frame_(\d+)$")  # how CVAT calls the frames of a video
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")
SHAPES = ("box", "polygon", "polyline", "points", "cuboid", "ellipse", "mask", "skeleton")


@dataclass(frozen=True)
class _Task:
    """What the file tells of a task, whose frames are those of one video.

    Attributes:
      video: file of the video.
      step: from one annotated frame to the next.
      stop: the last frame of the task; None if it is not told.
    """

    video: str
    step: int
    stop: int | None


class _Span(NamedTuple):
    """Frames from `start` to before `end`."""

    start: int
    end: int


def fits(source: Source) -> bool:
    """Tells whether the file is CVAT's XML."""
    root = source.xml
    return (
        root is not None
        and root.tag == "annotations"
        and any(root.find(tag) is not None for tag in ("meta", "image", "track"))
    )


def read(source: Source, found: Found) -> None:
    """Reads tracks and tags as segments of frames.

    A track is seen from a shape that is not "outside" to before the next one that is, or to the end of the task. Frames
    with the same tag that follow one another make a segment; a frame that stands alone is a point event.
    """
    root = source.xml
    assert root is not None
    tasks = _tasks(root, source, found)
    _refuse_pictures(root, tasks.values(), source)
    used = set()
    for number, track in enumerate(root.iter("track")):
        where = f"track {track.get('id', number)}"
        task = tasks.get(track.get("task_id", ""), tasks[""])
        for span in _seen(where, track, task, found):
            _add(where, task, span, track.get("label", ""), found)
            used.add(task.video)
    for (key, label), frames in _tags(root, found).items():
        task = tasks.get(key, tasks[""])
        used.add(task.video)
        for span in _runs(frames, task):
            _add(f'tag "{label}" from frame {span.start}', task, span, label, found)
    drawn = sum(image.find(shape) is not None for image in root.iter("image") for shape in SHAPES)
    if drawn:
        found.notes.append(
            f"shapes drawn into {drawn} frames are left out: export a task with tracks as CVAT for video 1.1"
        )
    for key, task in tasks.items():
        if task.video not in used and (key or len(tasks) == 1):
            found.add_bare("the task", task.video)


def _tasks(root: Element, source: Source, found: Found) -> dict[str, _Task]:
    """Returns id -> task; the empty id stands for the only one, or for a file that tells none."""
    meta = root.find("meta")
    described = [] if meta is None else [one for tag in ("task", "job") for one in meta.iter(tag)]
    common = "" if meta is None else meta.findtext("source") or ""
    tasks = {}
    for one in described:
        name = one.findtext("source") or common or one.findtext("name") or ""
        tasks[one.findtext("id") or ""] = _task(name if _is_video(name) else common or source.path.stem, one)
    first = next(iter(tasks.values()), _Task(common or source.path.stem, 1, None))
    if any(task.video == source.path.stem for task in (first, *tasks.values())) and common != source.path.stem:
        found.notes.append(
            f'the file names no video: "{source.path.stem}", its own name, is taken for that of the video'
        )
    return {"": first, **tasks} if len(tasks) != 1 else {"": first}


def _refuse_pictures(root: Element, tasks: Iterable[_Task], source: Source) -> None:
    """Raises `UserError` if the file is that of a task of pictures, which are frames of no video."""
    if any(_is_video(task.video) for task in tasks):
        return
    names = [image.get("name", "") for image in root.iter("image")]
    if pictures := [name for name in names if PurePosixPath(name).suffix.lower() in PICTURES]:
        raise UserError(
            f"{source.path}: annotates {len(pictures)} pictures ({few(pictures)}) and names no video; export a task of "
            "a video"
        )


def _task(video: str, described: Element) -> _Task:
    step = _STEP.search(described.findtext("frame_filter") or "")
    stop = finite_number(described.findtext("stop_frame"))
    size = finite_number(described.findtext("size"))
    start = finite_number(described.findtext("start_frame")) or 0
    steps = int(step[1]) if step else 1
    if stop is None and size:
        stop = start + (size - 1) * steps
    return _Task(video, steps, None if stop is None else int(stop))


def _is_video(name: str) -> bool:
    return plain_name(name, keep=True).lower().endswith(EXTENSIONS)


def _seen(where: str, track: Element, task: _Task, found: Found) -> Iterator[_Span]:
    """Yields the spans of frames in which a track is seen."""
    shapes = []
    for shape in track:
        if shape.tag in SHAPES:
            frame = finite_number(shape.get("frame"))
            if frame is None:
                found.wrong(f'{where}: a {shape.tag} has the frame "{shape.get("frame")}", expected a number')
                return
            shapes.append((int(frame), shape.get("outside") == "1"))
    start = last = None
    for frame, outside in sorted(shapes):
        if outside and start is not None:
            yield _Span(start, frame)
            start = None
        elif not outside and start is None:
            start = frame
        last = frame
    if start is not None and last is not None:
        yield _Span(start, max(last, -1 if task.stop is None else task.stop) + 1)


def _tags(root: Element, found: Found) -> dict[tuple[str, str], list[int]]:
    """Returns (task, label) -> the frames with that tag, ascending."""
    frames: dict[tuple[str, str], set[int]] = defaultdict(set)
    for image in root.iter("image"):
        name = _FRAME.search(image.get("name", ""))
        frame = float(name[1]) if name else finite_number(image.get("id"))
        for tag in image.iter("tag"):
            if frame is None:
                found.wrong(f'image "{image.get("name")}": its id is "{image.get("id")}", expected a number')
            else:
                frames[image.get("task_id", ""), tag.get("label", "")].add(int(frame))
    for tag in root.findall("tag"):
        frame = finite_number(tag.get("frame"))
        if frame is None:
            found.wrong(f'a tag has the frame "{tag.get("frame")}", expected a number')
        else:
            frames[tag.get("task_id", ""), tag.get("label", "")].add(int(frame))
    return {key: sorted(own) for key, own in frames.items()}


def _runs(frames: Sequence[int], task: _Task) -> Iterator[_Span]:
    """Yields the runs of frames that follow one another; a frame that stands alone has no length."""
    start = 0
    for place in range(1, len(frames) + 1):
        if place == len(frames) or frames[place] - frames[place - 1] > task.step:
            first, last = frames[start], frames[place - 1]
            end = last + task.step if task.stop is None else min(last + task.step, max(last, task.stop) + 1)
            yield _Span(first, first if first == last else end)
            start = place


def _add(where: str, task: _Task, span: _Span, label: str, found: Found) -> None:
    found.add(where, task.video, float(span.start), float(span.end), label, unit=Unit.FRAMES)
