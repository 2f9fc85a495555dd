"""All detections of a video as text for programs: JSON and CSV."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from adatad_jax.postprocessing.detections import Detection

COLUMNS = ("video", "start", "end", "label", "score")


def to_json(header: Mapping[str, Any], detections: Sequence[Detection]) -> str:
    """An object of the header's fields, and "detections": [{"segment": [start, end], "label", "score"}, ...].

    Args:
      header: about the video ("video", "duration" in seconds, "fps", ...); numbers must be finite.
      detections: in the order they are written, by falling score; seconds.
    """
    rows = [
        {"segment": [start, end], "label": label, "score": score} for start, end, label, score in by_score(detections)
    ]
    return json.dumps({**header, "detections": rows}, indent=1, allow_nan=False) + "\n"


def to_csv(video: str, detections: Sequence[Detection]) -> str:
    """A line `video,start,end,label,score` for each detection, seconds, by falling score, under a header."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((video, *detection) for detection in by_score(detections))
    return table.getvalue().encode(errors="replace").decode()  # names of files need not be Unicode


def by_score(detections: Sequence[Detection]) -> list[Detection]:
    """By falling score, equal ones in their order."""
    return sorted(detections, key=lambda detection: -detection.score)
