"""Precision by recall, class by class."""

import numpy as np

from adatad_jax.analysis.matching import Matching
from adatad_jax.evaluation.mean_ap import best_from_here

Array = np.ndarray

RECALLS = 101


def area(precision: Array, positives: int) -> float:
    """All-point interpolated average precision from precision [H] at true positives, as `mean_ap.average_precision`.

    Where false positives are precision is lower, so they can be left out.
    """
    return float(best_from_here(precision).sum() / positives)


def precision_curves(matching: Matching, t: int) -> Array:
    """Interpolated precision [K, 101] by class at threshold t, at recall 0, 0.01, ..., 1; 0 where it is not reached."""
    curves = np.zeros((len(matching.positives), RECALLS))
    for k, positives in enumerate(matching.positives.tolist()):
        positions, _ = matching.true_positives(t, k)
        best = best_from_here(np.arange(1, len(positions) + 1) / (positions + 1))
        # whole numbers, as 0.07 * 100 is not 7: recall r / 100 takes ceil(r * positives / 100) true positives
        needed = np.maximum(-(-np.arange(RECALLS) * positives // (RECALLS - 1)), 1)
        reached = needed <= len(best)
        curves[k, reached] = best[needed[reached] - 1]
    return curves
