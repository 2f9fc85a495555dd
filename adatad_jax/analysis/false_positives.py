"""Kinds of false positives, and the average mAP that each kind costs.

After DETAD (Alwassel, Heilbron, Escorcia, Ghanem: Diagnosing Error in Temporal Action Detectors, ECCV 2018, section 3).
In the video of a false positive, let s be its largest tIoU with a segment of its own label and o that with a segment of
another label. With the threshold t, the first rule that applies gives the kind:

* double detection: s >= t, but another detection has taken the segment;
* wrong label: o >= t;
* localisation: s >= 0.1;
* confusion: o >= 0.1;
* background: all others, and every detection in a video without ground truth.

This differs from DETAD in four ways:

* DETAD judges by the one segment that is overlapped most: a detection that overlaps its own label by 0.6 and another by
  0.7 is a wrong label there and a double detection here.
* DETAD classifies only the first 10 G detections of a class with G segments; here all are classified.
* DETAD averages the shares of the kinds over thresholds; here they are given at one threshold.
* DETAD measures the cost in mAP_N (see `sensitivity.py`); here it is measured in the average mAP that is reported.
"""

from dataclasses import dataclass

import numpy as np

from adatad_jax.analysis.curves import area
from adatad_jax.analysis.matching import Matching

Array = np.ndarray

KINDS = ("background", "confusion", "localisation", "wrong label", "double detection")
RANKS = 10
_LEAST_TIOU = 0.1


@dataclass(frozen=True)
class FalsePositives:
    """Kinds of false positives among the detections of the ground truth's classes.

    Attributes:
      tiou: threshold of `counts` and `by_rank`.
      counts: [6] int, number of true positives, then of each of `KINDS`.
      by_rank: [10, 6] float, shares of the same six in ten ranges of rank, over all classes together. The first range
        holds the G best-scoring detections of each class with G segments, the next one the following G, and so on up to
        10 G. A row sums to 1, or to 0 where no class has so many detections.
      cost: [5] float, fractions: average mAP gained if no false positive of a kind were there. At each threshold the
        detections are classified anew.
    """

    tiou: float
    counts: Array
    by_rank: Array
    cost: Array


def false_positives(matching: Matching, t: int) -> FalsePositives:
    """Counts the kinds of false positives, overall and by rank, and measures the average mAP that each kind costs.

    Args:
      matching: the matched detections.
      t: index of the threshold to count at.
    """
    kinds = kinds_of(matching)
    six = len(KINDS) + 1
    rank = np.concatenate([np.arange(n) // g for n, g in zip(np.diff(matching.ends), matching.positives, strict=True)])
    first = rank < RANKS
    table = np.bincount(rank[first] * six + kinds[t, first], minlength=RANKS * six).reshape(RANKS, six)
    return FalsePositives(
        tiou=float(matching.tious[t]),
        counts=np.bincount(kinds[t], minlength=six),
        by_rank=table / np.maximum(table.sum(axis=1, keepdims=True), 1),
        cost=_cost(matching, kinds),
    )


def kinds_of(matching: Matching) -> Array:
    """Classifies each detection at each threshold.

    Returns:
      [T, N] int8: 0 for a true positive, else 1 + the index in `KINDS`.
    """
    thresholds = matching.tious[:, None]
    rules = (
        ("double detection", matching.own >= thresholds),
        ("wrong label", matching.other >= thresholds),
        ("localisation", matching.own >= _LEAST_TIOU),
        ("confusion", matching.other >= _LEAST_TIOU),
    )
    kinds = np.full(matching.taken.shape, 1 + KINDS.index("background"), np.int8)
    for kind, applies in reversed(rules):  # reversed, so that the first rule that applies is not overwritten
        kinds[np.broadcast_to(applies, kinds.shape)] = 1 + KINDS.index(kind)
    kinds[matching.taken >= 0] = 0
    return kinds


def _cost(matching: Matching, kinds: Array) -> Array:
    """Computes the average mAP [5] gained by removing the false positives of each kind."""
    thresholds, classes = len(matching.tious), len(matching.positives)
    gains = np.zeros((len(KINDS), thresholds, classes))
    for t in range(thresholds):
        for k, positives in enumerate(matching.positives.tolist()):
            hits, _ = matching.true_positives(t, k)
            found = np.arange(1, len(hits) + 1)
            seen = hits + 1  # detections up to and including each true positive
            ap = area(found / seen, positives)
            for kind in range(len(KINDS)):
                gone = np.cumsum(kinds[t, matching.of_class(k)] == kind + 1)[hits]
                gains[kind, t, k] = area(found / (seen - gone), positives) - ap
    result: Array = gains.mean(axis=(1, 2))
    return result
