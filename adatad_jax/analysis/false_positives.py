"""False positives told apart, and the average mAP that each kind costs.

After DETAD (Alwassel, Heilbron, Escorcia, Ghanem: Diagnosing Error in Temporal Action Detectors, ECCV 2018, section 3).
With s the largest tIoU of a false positive with a segment of its own label, o with one of another label in its video,
and t the threshold:

* double detection: s >= t, but another detection has taken the segment;
* wrong label: else o >= t;
* localisation: else s >= 0.1;
* confusion: else o >= 0.1;
* background: the rest, and all in videos without ground truth.

Where we differ: DETAD judges by the one segment that is overlapped most, so a detection that overlaps its own label
by 0.6 and another by 0.7 is a wrong label there and a double detection here. It tells apart the first 10 G detections
of a class alone, averages their shares over thresholds, and measures a cost in mAP_N (see `sensitivity.py`); here the
cost is in the average mAP that is reported, and of all detections.
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
    """The kinds of false positives among the detections of the ground truth's classes.

    Attributes:
      tiou: at which `counts` and `by_rank` tell them apart.
      counts: [6] int, true positives, then each of `KINDS`.
      by_rank: [10, 6] float, shares of the same six among each class's first G detections (G: its segments), the next
        G, and so on up to 10 G, all classes together. A row sums to 1; where no class has so many detections, to 0.
      cost: [5] float, fractions: average mAP gained if no false positive of a kind were there, the kinds told apart at
        each threshold anew.
    """

    tiou: float
    counts: Array
    by_rank: Array
    cost: Array


def false_positives(matching: Matching, t: int) -> FalsePositives:
    """Kinds, ranks and costs; t is the index of the threshold to count at."""
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
    """[T, N] int8: 0 for a true positive, else 1 + the index in `KINDS`."""
    thresholds = matching.tious[:, None]
    rules = (
        ("double detection", matching.own >= thresholds),
        ("wrong label", matching.other >= thresholds),
        ("localisation", matching.own >= _LEAST_TIOU),
        ("confusion", matching.other >= _LEAST_TIOU),
    )
    kinds = np.full(matching.taken.shape, 1 + KINDS.index("background"), np.int8)
    for kind, applies in reversed(rules):  # the first rule that applies has the last word
        kinds[np.broadcast_to(applies, kinds.shape)] = 1 + KINDS.index(kind)
    kinds[matching.taken >= 0] = 0
    return kinds


def _cost(matching: Matching, kinds: Array) -> Array:
    thresholds, classes = len(matching.tious), len(matching.positives)
    gains = np.zeros((len(KINDS), thresholds, classes))
    for t in range(thresholds):
        for k, positives in enumerate(matching.positives.tolist()):
            hits, _ = matching.true_positives(t, k)
            found = np.arange(1, len(hits) + 1)
            seen = hits + 1  # detections up to the true positive, without those of the kind that is gone
            ap = area(found / seen, positives)
            for kind in range(len(KINDS)):
                gone = np.cumsum(kinds[t, matching.of_class(k)] == kind + 1)[hits]
                gains[kind, t, k] = area(found / (seen - gone), positives) - ap
    return gains.mean(axis=(1, 2))
