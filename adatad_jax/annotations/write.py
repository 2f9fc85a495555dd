"""Annotations as text for other programs: a table, the release's JSON, Label Studio's tasks, ELAN's text."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from adatad_jax.annotations.label_studio import RATE, SUBSET
from adatad_jax.annotations.records import Length
from adatad_jax.annotations.table import COLUMNS
from adatad_jax.errors import UserError, few

DECIMALS = 6  # of seconds, as written
LOCAL_FILES = "/data/local-files/?d="  # where Label Studio serves the files of its machine
CONTROL, OBJECT = "videoLabels", "video"  # names of the timeline and of the video in the labelling configuration
ELAN_HEADER = (
    "Tier",
    "Begin Time - ss.msec",
    "End Time - ss.msec",
    "Duration - ss.msec",
    "Annotation",
    "File Name",
)


class LabelledSegment(NamedTuple):
    """A labelled segment, with start and end in seconds."""

    start: float
    end: float
    label: str


class AnnotatedVideo(NamedTuple):
    """A video with its segments.

    Attributes:
      name: without extension.
      file: name of its file; the name, where there is no file.
      subset: name of the subset; empty if there are none.
      length: as far as it is known.
      segments: in the order of the annotations.
    """

    name: str
    file: str
    subset: str
    length: Length
    segments: tuple[LabelledSegment, ...]


def to_table(videos: Sequence[AnnotatedVideo]) -> str:
    """Returns a table video,start,end,label, with a column subset if there are subsets; `NAME,,,` has no segments."""
    named = any(video.subset for video in videos)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*COLUMNS, "subset") if named else COLUMNS)
    for video in videos:
        rows = [(_short(start), _short(end), label) for start, end, label in video.segments]
        for row in rows or [("", "", "")]:
            writer.writerow((video.file, *row, video.subset) if named else (video.file, *row))
    return text.getvalue()


def to_database(videos: Sequence[AnnotatedVideo]) -> str:
    """Returns the release's JSON, which needs subsets, durations and frame counts.

    Raises:
      ValueError: the length of a video is not known; the text names the videos.
    """
    unknown = [video.name for video in videos if not (video.length.duration > 0 and _frames(video.length))]
    if unknown:
        raise ValueError(few(unknown))
    database = {
        video.name: {
            "subset": video.subset,
            "duration": round(video.length.duration, DECIMALS),
            "frame": _frames(video.length),
            "annotations": [
                {"segment": [round(start, DECIMALS), round(end, DECIMALS)], "label": label}
                for start, end, label in video.segments
            ],
        }
        for video in videos
    }
    return json.dumps({"database": database}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_label_studio(videos: Sequence[AnnotatedVideo], rate: float) -> str:
    """Returns tasks for Label Studio, with timeline labels.

    Label Studio counts frames at one rate, that of its labelling configuration (`labelling_config`). The rate is in
    each task's data, too, so that its export tells it, and so is the subset.

    Args:
      videos: with their segments.
      rate: frames per second.
    """
    tasks = []
    for number, video in enumerate(videos, 1):
        result = [
            {
                "id": f"{number}_{place}",
                "type": "timelinelabels",
                "from_name": CONTROL,
                "to_name": OBJECT,
                "value": {"ranges": [_steps(segment, rate)], "timelinelabels": [segment.label]},
            }
            for place, segment in enumerate(video.segments)
        ]
        data: dict[str, str | float] = {"video": f"{LOCAL_FILES}{quote(video.file)}", RATE: rate}
        if video.subset:
            data[SUBSET] = video.subset
        tasks.append({"id": number, "data": data, "annotations": [{"result": result}]})
    return json.dumps(tasks, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def labelling_config(labels: Sequence[str], rate: float) -> str:
    """Returns the labelling configuration that goes with `to_label_studio`."""
    lines = [f"    <Label value={quoteattr(label)}/>" for label in labels]
    timeline = f'  <TimelineLabels name="{CONTROL}" toName="{OBJECT}">'
    video = f'  <Video name="{OBJECT}" value="${OBJECT}" timelineHeight="120" frameRate="{rate:g}"/>'
    return "\n".join(["<View>", timeline, *lines, "  </TimelineLabels>", video, "</View>"])


def to_elan(videos: Sequence[AnnotatedVideo]) -> str:
    """Returns ELAN's tab-separated text with a header; every label is a tier.

    Raises:
      UserError: a label holds a tab or a line break.
    """
    lines = ["\t".join(ELAN_HEADER)]
    for video in videos:
        for start, end, label in video.segments:
            if set(label) & set("\t\n\r"):
                raise UserError(
                    f"{video.name}: the label {label!r} holds a tab or a line break, which ELAN's text cannot"
                )
            times = (f"{time:.3f}" for time in (start, end, end - start))
            lines.append("\t".join((label, *times, label, video.file)))
    return "\n".join(lines) + "\n"


def _frames(length: Length) -> int:
    if length.frames:
        return length.frames
    return round(length.duration * length.fps) if length.fps > 0 else 0


def _short(seconds: float) -> str:
    """Returns seconds with at most `DECIMALS` decimals, without zeros at the end."""
    return f"{seconds:.{DECIMALS}f}".rstrip("0").rstrip(".")


def _steps(segment: LabelledSegment, rate: float) -> dict[str, int]:
    """Returns a segment in frames as Label Studio counts them, from 1; it keeps some length."""
    start = max(1, round(segment.start * rate))
    return {"start": start, "end": max(start + 1, math.ceil(segment.end * rate - 0.5))}
