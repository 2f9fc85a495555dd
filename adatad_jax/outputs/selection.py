"""Which detections are worth looking at: tables hold all, subtitles and pictures these."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from adatad_jax.postprocessing.detections import Detection

THRESHOLD = 0.1
REPEAT_TIOU = 0.5


def to_show(
    detections: Sequence[Detection], threshold: float | None = None, most: int | None = None
) -> list[Detection]:
    """The best detections, without the weaker repeats that soft-NMS leaves beside a strong one.

    Args:
      detections: of one video.
      threshold: the least score. None: 0.1, or the single best detection where none scores so.
      most: at most so many; None: any number.

    Returns:
      by falling score, equal ones in their order; of those of a label that overlap by tIoU 0.5 or more, the first.
    """
    ranked = sorted(detections, key=lambda detection: -detection.score)
    least = THRESHOLD if threshold is None else threshold
    good = [detection for detection in ranked if detection.score >= least]
    if threshold is None and not good:
        good = ranked[:1]
    members: defaultdict[str, list[int]] = defaultdict(list)
    for place, detection in enumerate(good):
        members[detection.label].append(place)
    kept = []
    for places in members.values():
        first = _first_of_repeats(np.array([good[place][:2] for place in places]))
        kept += [places[position] for position in first]
    return [good[place] for place in sorted(kept)][:most]


def _first_of_repeats(segments: np.ndarray) -> list[int]:
    """Positions of the segments [N, 2] that repeat none kept before them."""
    starts, ends = segments.T
    left = np.ones(len(segments), bool)
    kept = []
    for position in range(len(segments)):
        if not left[position]:
            continue
        kept.append(position)
        start, end = segments[position]
        shared = np.minimum(ends, end) - np.maximum(starts, start)
        spanned = np.maximum(ends, end) - np.minimum(starts, start)  # the union of two that overlap
        left &= shared < REPEAT_TIOU * spanned
    return kept
