"""Detections as SubRip and WebVTT subtitles, which any player shows while an action happens.

Players disagree on overlapping cues, so time is cut at all starts and ends, and each cue lists everything active in it.
A player's clock starts with the earliest stream of a file, that of a detection with the first frame; `as_played`
converts between the two.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adatad_jax.outputs.text import flat
from adatad_jax.postprocessing.detections import Detection
from adatad_jax.video.scan import scan

SHORTEST = 5  # milliseconds: shorter cues come from boundaries that nearly meet, and would only flicker

# WebVTT has escapes. SubRip has none, but players read < > and { } as tags, and a backslash as a command.
_VTT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_SRT_LOOKALIKES = str.maketrans({"<": "\u2039", ">": "\u203a", "{": "(", "}": ")", "\\": "/"})


class Cue(NamedTuple):
    """The lines shown from `start` to `end`, in milliseconds: one per label."""

    start: int
    end: int
    lines: tuple[str, ...]


def to_srt(detections: Sequence[Detection]) -> str:
    """Returns a SubRip file; < > { } and backslash become similar characters, as the format cannot hold them.

    Args:
      detections: the detections of one video, start and end in seconds, in any order.
    """
    return "".join(
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n"
        + "\n".join(lines).translate(_SRT_LOOKALIKES)
        + "\n\n"
        for number, (start, end, lines) in enumerate(cut_into_cues(detections), 1)
    )


def to_vtt(detections: Sequence[Detection]) -> str:
    """Returns a WebVTT file.

    Args:
      detections: the detections of one video, start and end in seconds, in any order.
    """
    return "WEBVTT\n\n" + "".join(
        f"{_clock(start, '.')} --> {_clock(end, '.')}\n" + "\n".join(lines).translate(_VTT_ESCAPES) + "\n\n"
        for start, end, lines in cut_into_cues(detections)
    )


def as_played(detections: Sequence[Detection], source: Path, fps: float | None = None) -> list[Detection]:
    """Converts detections from seconds after the first frame to the seconds that a player's clock shows.

    Args:
      detections: the detections in the file.
      source: the video file.
      fps: frames per second on the clock of the detections, if it is not the file's own, which players keep to.

    Returns:
      The detections in the same order, with converted start and end.

    Raises:
      UserError: as `scan`.
    """
    index = scan(source)
    spans = np.array([detection[:2] for detection in detections], np.float64).reshape(-1, 2)
    own = index.clock(fps if index.problem else None)
    played = np.interp(spans, index.clock(fps), own + index.lead).tolist()
    return [d._replace(start=start, end=end) for d, (start, end) in zip(detections, played, strict=True)]


def cut_into_cues(detections: Sequence[Detection]) -> list[Cue]:
    """Cuts time into cues that do not overlap.

    Args:
      detections: the detections of one video, start and end in seconds, in any order.

    Returns:
      The cues in order of time, each at least 5 ms long. A cue has one line "label 83%" per active label, with the
      label's best score, best first.
    """
    ranked = sorted(detections, key=lambda detection: -detection.score)
    lines = [f"{flat(detection.label)} {100 * detection.score:.0f}%" for detection in ranked]
    times = np.array([detection[:2] for detection in ranked], np.float64).reshape(-1, 2)
    starts, ends = np.maximum(np.rint(1000 * times), 0).astype(np.int64).T
    cuts = np.unique([starts[starts < ends], ends[starts < ends]]).tolist()
    cues: list[Cue] = []
    for start, end in pairwise(cuts):
        active: dict[str, str] = {}
        for place in np.flatnonzero((starts <= start) & (end <= ends)):
            active.setdefault(ranked[place].label, lines[place])
        shown = tuple(active.values())
        if not shown or end - start < SHORTEST:
            continue
        if cues and cues[-1].end == start and cues[-1].lines == shown:
            cues[-1] = cues[-1]._replace(end=end)
        else:
            cues.append(Cue(start, end, shown))
    return cues


def _clock(milliseconds: int, point: str) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"
