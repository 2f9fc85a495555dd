import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adatad_jax.analysis.curves import area, precision_curves
from adatad_jax.evaluation.mean_ap import average_precision
from tests.analysis.small_cases import RANDOM_CASES, detections, matched, random_case, truth


@given(st.lists(st.booleans(), max_size=12), st.integers(0, 3))
def test_area_is_the_evaluators_average_precision(hits: list[bool], missed: int) -> None:
    positions, positives = np.flatnonzero(hits), max(sum(hits) + missed, 1)
    precision = np.arange(1, len(positions) + 1) / (positions + 1)
    np.testing.assert_allclose(area(precision, positives), average_precision(np.array(hits, bool), positives))


def test_by_hand() -> None:
    # hit, miss, hit with three segments: precision 1 up to recall 1/3, 2/3 up to 2/3, then not reached
    ground_truth = {"v": truth((0, 10, 0), (20, 30, 0), (40, 50, 0), (0, 10, 2))}
    results = {"v": detections((0, 10, 0.9, 0), (60, 70, 0.8, 0), (20, 30, 0.7, 0))}
    curves = precision_curves(matched(ground_truth, results, (0.5,)), 0)
    np.testing.assert_allclose(curves[0], [1] * 34 + [2 / 3] * 33 + [0] * 34)
    np.testing.assert_array_equal(curves[1], np.zeros(101))


@pytest.mark.parametrize("seed", RANDOM_CASES)
def test_is_the_best_precision_at_the_recall_or_beyond(seed: int) -> None:
    matching = matched(*random_case(seed))
    curves = precision_curves(matching, 1)
    for k, positives in enumerate(matching.positives.tolist()):
        hits = (matching.taken[1, matching.of_class(k)] >= 0).tolist()
        for percent in range(101):
            precisions = [
                sum(hits[:n]) / n for n in range(1, len(hits) + 1) if 100 * sum(hits[:n]) >= percent * positives
            ]
            assert curves[k, percent] == pytest.approx(max(precisions, default=0))
