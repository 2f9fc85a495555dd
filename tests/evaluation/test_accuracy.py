"""Accuracy and confusion by hand."""

import numpy as np

from adatad_jax.evaluation.accuracy import accuracy, confusion_csv


def test_four_videos_of_six_classes() -> None:
    """Right; second best; the least probable of six; right by the lower number among equal ones."""
    probabilities = np.array(
        [
            [0.5, 0.2, 0.1, 0.1, 0.05, 0.05],
            [0.5, 0.3, 0.1, 0.05, 0.03, 0.02],
            [0.3, 0.25, 0.2, 0.15, 0.07, 0.03],
            [0.1, 0.4, 0.4, 0.05, 0.03, 0.02],
        ]
    )
    found = accuracy(probabilities, np.array([0, 1, 5, 1]))
    assert (found.top1, found.top5) == (0.5, 0.75)
    expected = np.zeros((6, 6), int)
    expected[0, 0], expected[1, 0], expected[1, 1], expected[5, 0] = 1, 1, 1, 1
    np.testing.assert_array_equal(found.confusion, expected)
    np.testing.assert_array_equal(found.recalls, [1, 0.5, np.nan, np.nan, np.nan, 0])


def test_a_table_has_labels_in_rows() -> None:
    table = confusion_csv(np.array([[2, 1], [0, 3]]), ("jump, high", "run"))
    assert table == 'label,"jump, high",run\n"jump, high",2,1\nrun,0,3\n'
