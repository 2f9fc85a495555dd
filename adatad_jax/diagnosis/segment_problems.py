"""Checks of the annotated segments of a video."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from adatad_jax.data.annotations import Video
from adatad_jax.data.usable_videos import SECONDS_APART


def segment_problems(video: Video, ignore_labels: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """Finds odd segments of a video.

    A segment is `outside` if it ends more than a second after the video or starts more than a second before it
    (segments entirely outside are left to the warning of loading), `empty` if it ends where it starts, and `duplicated`
    if an earlier segment has the same start, end and label.

    Args:
      video: the video as annotated.
      ignore_labels: labels whose segments are skipped.

    Yields:
      The kind of problem and a line that describes the segment.
    """
    seen: set[tuple[float, float, str]] = set()
    for (start, end), label in zip(video.segments.tolist(), video.labels, strict=True):
        if label in ignore_labels:
            continue
        what = f'{video.name}: "{label}", {start:g} to {end:g} s'
        if start < video.duration and end >= 0 and max(end - video.duration, -start) > SECONDS_APART:
            yield "outside", f"{what}; the video lasts {video.duration:g} s"
        if start == end:
            yield "empty", what
        if (start, end, label) in seen:
            yield "duplicated", what
        seen.add((start, end, label))
