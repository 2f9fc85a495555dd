import numpy as np
import pytest

from adatad_jax.analysis.confusion import confusion_matrix
from adatad_jax.evaluation.ground_truth import counted, segment_tiou
from tests.analysis.small_cases import CLASSES, RANDOM_CASES, detections, random_case, truth


def test_by_hand() -> None:
    ground_truth = {"v": truth((0, 10, 0), (20, 30, 0), (40, 50, 2)), "w": truth((0, 10, 2))}
    found = {
        "v": detections(
            (0, 10, 0.5, 0),
            (0, 5, 0.6, 2),  # overlaps the first segment by 0.5, and scores higher
            (20, 30, 0.7, 1),  # a label without ground truth does not count
            (20, 24, 0.6, 2),  # overlaps by 0.4: too little
            (20, 29, 0.5, 0),
            (40, 50, 0.3, 0),
            (40, 50, 0.3, 2),  # equal score, given later
        )
    }
    matrix = confusion_matrix(counted(ground_truth, found, CLASSES), found, 0.5)
    # rows Dive, Swim; columns Dive, Swim, missed; the segment of w is missed
    assert matrix.tolist() == [[1, 1, 0], [1, 0, 1]]


@pytest.mark.parametrize("seed", RANDOM_CASES)
def test_against_loops(seed: int) -> None:
    ground_truth, results = random_case(seed)
    truth_counted = counted(ground_truth, results, CLASSES)
    known = list(truth_counted.positives)
    expected = np.zeros((len(known), len(known) + 1), int)
    for video, (segments, labels) in truth_counted.videos.items():
        for segment, label in zip(segments, labels, strict=True):
            best, found_as = -1.0, len(known)
            found = results.get(video, detections())
            for candidate, score, its_label in zip(found.segments, found.scores, found.labels, strict=True):
                overlap = segment_tiou(candidate[None], segment[None]).item()
                if its_label in known and overlap >= 0.5 and score > best:
                    best, found_as = score, known.index(its_label)
            expected[known.index(label), found_as] += 1
    matrix = confusion_matrix(truth_counted, results, 0.5)
    np.testing.assert_array_equal(matrix, expected)
    assert matrix.sum(axis=1).tolist() == list(truth_counted.positives.values())
