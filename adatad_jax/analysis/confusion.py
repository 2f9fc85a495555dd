"""Confusion matrix: which predicted class the segments of each ground-truth class receive."""

from collections.abc import Mapping

import numpy as np

from adatad_jax.analysis.matching import NOTHING, of_labels
from adatad_jax.evaluation.ground_truth import CountedTruth, segment_tiou
from adatad_jax.postprocessing.detections import Detections

Array = np.ndarray


def confusion_matrix(truth: CountedTruth, results: Mapping[str, Detections], tiou: float) -> Array:
    """Builds the confusion matrix: for each ground-truth class, which predicted class its segments received.

    A segment receives the label of the best-scoring detection that overlaps it by at least `tiou`. The label of the
    detection and the other segments it overlaps do not matter. Of equal scores the first given counts. Detections of
    labels without ground truth are ignored.

    Args:
      truth: counted ground truth with K classes.
      results: detections of each video.
      tiou: tIoU from which a detection counts for a segment.

    Returns:
      [K, K + 1] int64, a row per ground-truth class and a column per predicted class. The last column counts missed
      segments, which no detection of any class overlaps enough. Each row sums to the number of segments of its class.
    """
    known = np.array(list(truth.positives))
    classes = len(known)
    matrix = np.zeros((classes, classes + 1), np.int64)
    for video, (segments, labels) in truth.videos.items():
        found = of_labels(results.get(video, NOTHING), known)
        ranked = np.argsort(-found.scores, kind="stable")
        on = segment_tiou(found.segments[ranked], segments) >= tiou
        found_as = np.full(len(labels), classes)
        if len(found):
            best = np.searchsorted(known, found.labels[ranked[on.argmax(axis=0)]])
            found_as = np.where(on.any(axis=0), best, classes)
        np.add.at(matrix, (np.searchsorted(known, labels), found_as), 1)
    return matrix
