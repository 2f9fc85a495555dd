"""Detections: what `detect` writes for a video, and the results of a data set in ActivityNet's form."""

from __future__ import annotations

import json
from typing import Any

from adatad_jax.annotations.records import Found, finite_number
from adatad_jax.annotations.source import Source


def fits(source: Source) -> bool:
    """Tells whether the file is an object with "detections" of one video, or with "results" by video."""
    content = source.json
    if not isinstance(content, dict):
        return False
    one = isinstance(content.get("detections"), list) and isinstance(content.get("video"), str)
    return one or isinstance(content.get("results"), dict)


def read(source: Source, found: Found) -> None:
    """Reads detections with their scores; a video without any has no segments. Those of no length are left out."""
    content = source.json
    by_video: dict[str, Any] = content.get("results") or {content.get("video", ""): content.get("detections")}
    if isinstance(content.get("video"), str):
        found.know(content["video"], duration=content.get("duration"), fps=content.get("fps"))
    numbers = 0
    for video, detections in by_video.items():
        if not isinstance(detections, list):
            found.wrong(f'video "{video}": {str(detections)[:80]}, expected a list of detections')
            continue
        if not detections:
            found.add_bare(f'video "{video}"', video)
        for number, detection in enumerate(detections):
            where = f'video "{video}", detection {number}'
            segment = detection.get("segment") if isinstance(detection, dict) else None
            if not isinstance(segment, list) or len(segment) != 2:
                found.wrong(f"{where}: {str(detection)[:80]}, expected a segment [start, end] and a label")
                continue
            label = detection.get("label", "")
            if isinstance(label, bool) or not isinstance(label, int | str):
                found.wrong(f"{where}: the label is {json.dumps(label)[:80]}, expected the name of a class", video)
                continue
            numbers += isinstance(label, int)
            score = finite_number(detection.get("score"))
            found.add(where, video, segment[0], segment[1], str(label), score=score)
    if numbers:
        found.notes.append(f"{numbers} detections have a number for a label; it is taken for the name of the class")
    found.drop_empty_detections()
