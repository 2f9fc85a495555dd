"""As what the segments of each class are found."""

from collections.abc import Mapping

import numpy as np

from adatad_jax.analysis.matching import NOTHING, of_labels
from adatad_jax.evaluation.ground_truth import CountedTruth, segment_tiou
from adatad_jax.postprocessing.detections import Detections

Array = np.ndarray


def confusion_matrix(truth: CountedTruth, results: Mapping[str, Detections], tiou: float) -> Array:
    """[K, K + 1] int: for every segment of class i (row) the label of the best-scoring detection on it.

    A detection is on a segment that it overlaps by at least `tiou`, whatever its label and whatever else it is on. The
    last column counts segments with none: missed by any label. Rows sum to the class's segments. Of equal scores the
    first given counts; labels without ground truth do not.
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
