import numpy as np
import pytest

from adatad_jax.evaluation.mean_ap import average_precision, mean_average_precision
from tests.analysis.small_cases import CLASSES, RANDOM_CASES, TIOUS, detections, matched, random_case, truth


@pytest.mark.parametrize("seed", RANDOM_CASES)
def test_average_precision_of_the_matches_is_the_evaluators(seed: int) -> None:
    ground_truth, results = random_case(seed)
    matching, metrics = matched(ground_truth, results), mean_average_precision(ground_truth, results, TIOUS, CLASSES)
    per_class = [
        average_precision(matching.taken[:, matching.of_class(k)] >= 0, n) for k, n in enumerate(matching.positives)
    ]
    np.testing.assert_array_equal(per_class, metrics.per_class)
    assert len(matching.own) == metrics.detections
    assert (matching.videos < 0).sum() == metrics.unknown_video


def test_order_overlaps_and_segments() -> None:
    ground_truth = {"v": truth((0, 10, 3), (5, 5, 0), (20, 30, 1)), "w": truth((0, 10, 3))}
    results = {
        "w": detections((0, 5, 0.4, 3)),
        "elsewhere": detections((0, 10, 0.9, 1)),
        "v": detections((0, 8, 0.6, 1), (0, 8, 0.7, 3), (0, 9, 0.8, 0), (20, 30, 0.4, 3)),
    }
    matching = matched(ground_truth, results, (0.5,))
    assert matching.names == ("v", "w")
    assert matching.segments.tolist() == [[0, 10], [20, 30], [0, 10]]
    assert matching.segment_labels.tolist() == [1, 0, 1]  # classes that have segments: Jump, Walk
    assert matching.segment_videos.tolist() == [0, 0, 1]
    # Jump: elsewhere 0.9, v 0.6. Walk: v 0.7, w 0.4 before v 0.4 as given. Dive has no segment but an empty one.
    assert matching.ends.tolist() == [0, 2, 5]
    assert matching.videos.tolist() == [-1, 0, 0, 1, 0]
    np.testing.assert_allclose(matching.own, [0, 0, 0.8, 0.5, 0])
    np.testing.assert_allclose(matching.other, [0, 0.8, 0, 0, 1])
    assert matching.taken.tolist() == [[-1, -1, 0, 2, -1]]
    positions, segments = matching.true_positives(0, 1)
    assert (positions.tolist(), segments.tolist()) == ([0, 1], [0, 2])
