"""Timelines of the best and the worst videos: which detections they show, in which lanes and at which positions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from adatad_jax.errors import one_line
from adatad_jax.evaluation.ground_truth import segment_tiou
from adatad_jax.evaluation.mean_ap import match
from adatad_jax.outputs.timeline import LANES, STEPS, assign_lanes, clock, thumbnails
from adatad_jax.postprocessing.detections import Detections
from adatad_jax.report.charts import data_uri

Array = np.ndarray

VIDEOS = 10  # at most this many best ones, and as many worst ones
FEWEST, MOST = 10, 200  # detections drawn per video: twice its number of segments, within these bounds,
FLOOR = 0.1  # and none that scores below this share of the video's best score
FAINTEST = 0.25  # lowest opacity
WIDEST = 2.0  # longest side of a thumbnail, relative to its shorter one; of wider pictures only the middle is shown
QUALITY = 70  # of JPEG
MOST_TICKS = 8
RULE = (
    f"Of the detections of all labels, the best-scoring ones are drawn: twice as many as the video has segments (at "
    f"least {FEWEST}, at most {MOST}), none below {100 * FLOOR:g}% of the video's best score, at most {LANES} of a "
    "class above one another."
)


class Bar(NamedTuple):
    """A segment on the time axis.

    Attributes:
      left: start, in percent of the axis.
      width: length, in percent of the axis.
      title: description of the segment.
      matched: of a detection, whether it takes a segment; of a segment, whether a detection shown takes it.
      lane: lane of a detection in its row.
      score: score of a detection, as text.
      opacity: in [0, 1].
    """

    left: float
    width: float
    title: str
    matched: bool
    lane: int = 0
    score: str = ""
    opacity: float = 1.0


class TimelineRow(NamedTuple):
    """A class: its annotated segments, and its detections in lanes."""

    name: str
    truth: list[Bar]
    found: list[Bar]
    lanes: int


@dataclass(frozen=True)
class Timeline:
    """A video as it is shown.

    Attributes:
      video: name of the video.
      ap: average precision in this video alone, a fraction.
      seconds: length of the time axis.
      segments: number of annotated segments.
      detections: number of detections.
      crowded: number of detections not drawn because all lanes are taken there.
      rows: one row per class, annotated classes first.
      ticks: positions in percent, and labels.
      images: data URIs of thumbnails, evenly spaced in time.
      problem: why there are none although the file was given.
    """

    video: str
    ap: float
    seconds: float
    segments: int
    detections: int
    crowded: int
    rows: list[TimelineRow]
    ticks: list[tuple[float, str]]
    images: list[str]
    problem: str

    @property
    def drawn(self) -> int:
        """Returns the number of detections drawn."""
        return sum(len(row.found) for row in self.rows)


def best_and_worst(video_ap: Mapping[str, float], segments: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """Selects at most ten best and ten worst videos, none of them in both lists.

    The best begin with the best one, the worst with the worst. Of equal videos the one with more segments comes first,
    then the name decides.

    Args:
      video_ap: average precision of each video, a fraction.
      segments: number of segments of each video.
    """
    worst = sorted(video_ap, key=lambda video: (video_ap[video], -segments[video], video))
    worst = worst[: min(VIDEOS, len(worst) // 2)]
    best = sorted(video_ap.keys() - set(worst), key=lambda video: (-video_ap[video], -segments[video], video))
    return best[:VIDEOS], worst


def lay_out(
    video: str,
    ap: float,
    duration: float,
    truth: tuple[Array, Array],
    found: Detections,
    classes: Sequence[str],
    tiou: float,
    images: list[str],
    problem: str,
) -> Timeline:
    """Lays out the timeline of a video.

    Args:
      video: name of the video.
      ap: average precision in it alone, a fraction.
      duration: seconds, 0 if not known. The axis ends there, or with the last segment if that is later, and detections
        are cut at its end. If the duration is not known, the axis reaches the last detection shown too.
      truth: annotated segments [G, 2] in seconds and labels [G].
      found: all detections of the video.
      classes: class names, indexed by the labels.
      tiou: threshold from which a detection may take a segment.
      images, problem: see `thumbnail_strip`.
    """
    segments, labels = truth
    shown = shown_detections(found, len(segments))
    latest = duration if duration else found.segments[shown, 1].max(initial=0)
    seconds = float(max(latest, segments[:, 1].max(initial=0)))
    top = max(1.0, float(found.scores[shown].max(initial=0)))  # scores of other tools may exceed 1
    by_start = labels[np.argsort(segments[:, 0], kind="stable")].tolist()
    crowded, rows = 0, []
    for label in dict.fromkeys((*by_start, *found.labels[shown].tolist())):
        name, own, mine = classes[label], segments[labels == label], shown[found.labels[shown] == label]
        # All better ones of the label are among them, so each takes the same segment as in the evaluation.
        taken = match(segment_tiou(found.segments[mine], own), tiou) if len(own) else np.full(len(mine), -1)
        annotated = [
            _bar(segment, seconds, f"{name}, annotated, {_span(segment)}", bool((taken == g).any()))
            for g, segment in enumerate(own)
        ]
        drawn = []
        lanes = assign_lanes(found.segments[mine])
        for index, segment, lane in zip(mine.tolist(), taken.tolist(), lanes, strict=True):
            if lane is None:
                crowded += 1
                continue
            score = float(found.scores[index])
            opacity = FAINTEST + (1 - FAINTEST) * min(max(score / top, 0.0), 1.0)
            verdict = "matched" if segment >= 0 else "not matched"
            title = f"{name} {score:.2f}, {_span(found.segments[index])}, {verdict}"
            bar = _bar(found.segments[index], seconds, title, segment >= 0)
            drawn.append(bar._replace(lane=lane, score=f"{score:.2f}", opacity=opacity))
        rows.append(TimelineRow(name, annotated, drawn, 1 + max((bar.lane for bar in drawn), default=-1)))
    ticks = _ticks(seconds)
    return Timeline(video, ap, seconds, len(segments), len(found), crowded, rows, ticks, images, problem)


def shown_detections(found: Detections, segments: int) -> Array:
    """Selects the detections to draw, by the rule in `RULE`.

    Args:
      found: detections of a video.
      segments: number of segments annotated in it.

    Returns:
      Their indices, the best first.
    """
    order = np.argsort(-found.scores, kind="stable")[: min(max(2 * segments, FEWEST), MOST)]
    scores = found.scores[order]
    return order[scores >= FLOOR * scores[0]] if len(order) and scores[0] > 0 else order


def thumbnail_strip(path: Path, time_limit: float) -> tuple[list[str], str]:
    """Makes thumbnails of a video; a file that cannot be read does not stop the report.

    Args:
      path: the video.
      time_limit: seconds that opening it, or reading a frame, may take.

    Returns:
      Data URIs and an empty text; or none, and the reason.
    """
    try:
        return [data_uri("image/jpeg", _jpeg(image)) for image in thumbnails(path, time_limit)], ""
    except Exception as error:
        return [], one_line(error)


def _jpeg(image: Array) -> bytes:
    height, width = image.shape[:2]
    side = int(WIDEST * min(height, width))
    top, left = max(0, height - side) // 2, max(0, width - side) // 2
    middle = image[top : top + side, left : left + side]
    done, content = cv2.imencode(".jpg", middle[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise ValueError("its thumbnails cannot be encoded")
    return content.tobytes()


def _bar(segment: Array, seconds: float, title: str, matched: bool) -> Bar:
    left, right = (np.clip(segment, 0, seconds) * (100 / seconds)).tolist()
    return Bar(left, right - left, title, matched)


def _span(segment: Array) -> str:
    return f"{segment[0]:.1f}-{segment[1]:.1f} s"


def _ticks(seconds: float) -> list[tuple[float, str]]:
    step = next((step for step in STEPS if seconds / step <= MOST_TICKS), math.ceil(seconds / MOST_TICKS))
    return [(100 * i * step / seconds, clock(i * step)) for i in range(int(seconds / step) + 1)]
