"""What is odd about the annotated segments of a video."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from adatad_jax.data.annotations import Video
from adatad_jax.data.usable_videos import SECONDS_APART


def segment_problems(video: Video, ignore_labels: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """What is odd about a video's segments: pairs of `outside`, `empty` or `duplicated`, and a line on the segment.

    Outside is what ends over a second after the video or starts so long before it (of what does not even touch it,
    loading warns); empty what ends where it starts; duplicated what repeats an earlier segment with its label.
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
