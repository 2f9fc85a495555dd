"""Average precision inside each video: which ones are found well and which are not."""

import numpy as np

from adatad_jax.analysis.matching import Matching
from adatad_jax.evaluation.mean_ap import average_precision


def video_ap(matching: Matching) -> dict[str, float]:
    """Of every video with a segment: mean over thresholds, and over the classes annotated there, of AP in it alone.

    Detections of other classes in the video do not count against it: for them it has no recall.
    """
    classes = len(matching.positives)
    labels = np.repeat(np.arange(classes), np.diff(matching.ends))
    annotated, positives = np.unique(matching.segment_videos * classes + matching.segment_labels, return_counts=True)
    pair = np.where(matching.videos >= 0, matching.videos * classes + labels, -1)
    order = np.argsort(pair, kind="stable")  # keeps falling scores inside a pair of video and class
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
