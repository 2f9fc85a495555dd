"""The choice of detections that subtitles and pictures show; tables hold all of them."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from adatad_jax.postprocessing.detections import Detection

THRESHOLD = 0.1
REPEAT_TIOU = 0.5


def to_show(
    detections: Sequence[Detection], threshold: float | None = None, most: int | None = None
) -> list[Detection]:
    """Selects the best detections, without the weaker repeats that soft-NMS leaves beside a strong one.

    Args:
      detections: the detections of one video.
      threshold: the lowest score to keep. None: 0.1, or the single best detection where none reaches 0.1.
      most: the largest number of detections to return; None: no limit.

    Returns:
      The detections by falling score, equal scores in their order. Of detections with the same label that overlap by
      a tIoU of 0.5 or more, only the first is kept.
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
    """Returns the positions of the segments `[N, 2]` that do not repeat an earlier kept one."""
    starts, ends = segments.T
    left = np.ones(len(segments), bool)
    kept = []
    for position in range(len(segments)):
        if not left[position]:
            continue
        kept.append(position)
        start, end = segments[position]
        shared = np.minimum(ends, end) - np.maximum(starts, start)
        spanned = np.maximum(ends, end) - np.minimum(starts, start)  # equals the union where the two overlap
        left &= shared < REPEAT_TIOU * spanned
    return kept
