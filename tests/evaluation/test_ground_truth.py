from typing import Any

import numpy as np
import pytest

from adatad_jax.errors import UserError
from adatad_jax.evaluation.ground_truth import counted, distinct_segments, segment_tiou
from adatad_jax.postprocessing.detections import Detections


def test_tiou() -> None:
    a = np.array([[0, 10], [5, 5]])
    b = np.array([[5, 15], [10, 20], [0, 10], [5, 5]])
    # 5 / (10 + 10 - 5); only touching; identical; empty segments overlap nothing, not even themselves
    np.testing.assert_array_equal(segment_tiou(a, b), [[1 / 3, 0, 1, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(segment_tiou(np.array([[-1e308, 1e308]]), b[:1]), [[0]])


def test_distinct_segments_drops_the_empty_and_the_near_duplicates_of_those_kept() -> None:
    # Binary fractions, so that differences are exact: 1/1024 < 1e-3 < 1/512
    near, far = 1 / 1024, 1 / 512
    segments = np.array(
        [
            [1, 1],  # empty
            [1, 3],
            [1 + near, 3 - near],  # near-duplicate of the one before
            [1 + 2 * near, 3],  # near a dropped one, far from the one kept
            [1, 3 + far],  # one end too far
            [1, 3],  # the same, of another class
            [5, 4],  # reversed
        ]
    )
    assert distinct_segments(segments, np.array([0, 0, 0, 0, 0, 1, 0])).tolist() == [1, 3, 4, 5]
    # Both ends exactly 1e-3 away count as the same
    assert distinct_segments(np.array([[0, 1], [1e-3, 1]]), np.array([0, 0])).tolist() == [0]


def test_what_counts() -> None:
    ground_truth = {
        "v": (np.array([[0, 1], [0, 1], [2, 3]]), np.array([3, 3, 1])),
        "w": (np.empty((0, 2)), np.empty(0)),
    }
    truth = counted(ground_truth, {}, ["a", "b", "c", "d"])
    assert truth.positives == {1: 1, 3: 1}
    assert truth.dropped == 1
    assert list(truth.videos) == ["v", "w"]


def one(label: int = 0) -> Detections:
    return Detections(np.array([[0, 1]]), np.array([0.5]), np.array([label]))


@pytest.mark.parametrize(
    ("ground_truth", "detections", "message"),
    [
        ({}, {}, r"ground truth .* 0 videos, 0 segments"),
        (
            {"v": (np.array([[1, 1]]), np.array([0]))},
            {"v": one()},
            r"ground truth .* 1 videos, 1 segments",
        ),
        (
            {"v": (np.array([[0, 1]]), np.array([0]))},
            {"w": one()},
            r"no video .*detections .*\bw\b.*ground truth .*\bv\b",
        ),
        (
            {"v": (np.array([[0, 1]]), np.array([0]))},
            {"v": one(1)},
            r"no label .*detections .*\bJump\b.*ground truth .*\bDive\b",
        ),
    ],
)
def test_refuses_what_cannot_be_compared(ground_truth: Any, detections: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        counted(ground_truth, detections, ["Dive", "Jump"])
