"""Precision-recall curves of each class."""

import numpy as np

from adatad_jax.analysis.matching import Matching
from adatad_jax.evaluation.mean_ap import best_from_here

Array = np.ndarray

RECALLS = 101


def area(precision: Array, positives: int) -> float:
    """Returns the all-point interpolated average precision, as `mean_ap.average_precision`, from true positives alone.

    False positives can be left out: precision at one is lower than at the true positive before it.

    Args:
      precision: [H] float, precision at each true positive, by falling score.
      positives: number of ground-truth segments of the class.
    """
    return float(best_from_here(precision).sum() / positives)


def precision_curves(matching: Matching, t: int) -> Array:
    """Computes the interpolated precision-recall curve of each class at one threshold.

    Args:
      matching: the matched detections.
      t: index of the threshold.

    Returns:
      [K, 101] float64, precision at recall 0, 0.01, ..., 1; 0 where that recall is not reached.
    """
    curves = np.zeros((len(matching.positives), RECALLS))
    for k, positives in enumerate(matching.positives.tolist()):
        positions, _ = matching.true_positives(t, k)
        best = best_from_here(np.arange(1, len(positions) + 1) / (positions + 1))
        # In whole numbers, as 0.07 * 100 is not 7: recall r / 100 needs ceil(r * positives / 100) true positives.
        needed = np.maximum(-(-np.arange(RECALLS) * positives // (RECALLS - 1)), 1)
        reached = needed <= len(best)
        curves[k, reached] = best[needed[reached] - 1]
    return curves
