"""All detections of a video as text for programs: JSON and CSV."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from adatad_jax.evaluation.results_forms import COLUMNS
from adatad_jax.postprocessing.detections import Detection


def to_json(header: Mapping[str, Any], detections: Sequence[Detection]) -> str:
    """Returns a JSON object: the header's fields and "detections": [{"segment": [start, end], "label", "score"}, ...].

    Args:
      header: facts about the video ("video", "duration" in seconds, "fps", ...); numbers must be finite.
      detections: start and end in seconds, in any order; they are written by falling score.

    Raises:
      ValueError: a number is NaN or infinite.
    """
    rows = [
        {"segment": [start, end], "label": label, "score": score} for start, end, label, score in by_score(detections)
    ]
    return json.dumps({**header, "detections": rows}, indent=1, allow_nan=False) + "\n"


def to_csv(video: str, detections: Sequence[Detection], damaged: Sequence[tuple[float, float]] | None = None) -> str:
    """Returns a CSV table: a header, then one line `video,start,end,label,score` per detection, by falling score.

    Args:
      video: the value of the first column.
      detections: start and end in seconds, in any order.
      damaged: stretches of the video that were filled, in seconds. A last column, `damaged`, then gives the seconds of
        each detection that lie in them. None leaves the column out.
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS if damaged is None else (*COLUMNS, "damaged"))
    for detection in by_score(detections):
        row: list[object] = [video, *detection]
        if damaged is not None:
            shared = (min(detection.end, end) - max(detection.start, start) for start, end in damaged)
            row.append(sum(max(0.0, seconds) for seconds in shared))
        writer.writerow(row)
    return table.getvalue().encode(errors="replace").decode()  # file names need not be Unicode


def by_score(detections: Sequence[Detection]) -> list[Detection]:
    """Sorts detections by falling score; equal scores keep their order."""
    return sorted(detections, key=lambda detection: -detection.score)
