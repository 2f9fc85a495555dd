"""Average precision within each video: which videos are detected well and which are not."""

import numpy as np

from adatad_jax.analysis.matching import Matching
from adatad_jax.evaluation.mean_ap import average_precision


def video_ap(matching: Matching) -> dict[str, float]:
    """Computes the average precision within each video that has a segment.

    It is averaged over thresholds and over the classes annotated in the video. Detections of other classes there do not
    count against it, as they have no recall.

    Args:
      matching: the matched detections.

    Returns:
      Video name to average precision, a fraction.
    """
    classes = len(matching.positives)
    labels = np.repeat(np.arange(classes), np.diff(matching.ends))
    annotated, positives = np.unique(matching.segment_videos * classes + matching.segment_labels, return_counts=True)
    pair = np.where(matching.videos >= 0, matching.videos * classes + labels, -1)
    order = np.argsort(pair, kind="stable")  # stable: within a video and class, scores keep falling
    begin, end = (np.searchsorted(pair[order], annotated, side).tolist() for side in ("left", "right"))
    hits = matching.taken >= 0
    ap = np.array(
        [
            average_precision(hits[:, order[b:e]], n).mean()
            for b, e, n in zip(begin, end, positives.tolist(), strict=True)
        ]
    )
    videos = annotated // classes
    total, count = np.bincount(videos, ap), np.bincount(videos)
    return {matching.names[v]: float(total[v] / count[v]) for v in np.flatnonzero(count).tolist()}
