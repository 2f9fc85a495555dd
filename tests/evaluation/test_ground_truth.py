import json
from typing import Any

import jax
import numpy as np
import pytest

from adatad_jax.data.annotations import load_annotations, select_subset
from adatad_jax.errors import UserError
from adatad_jax.evaluation.detections import Detections
from adatad_jax.evaluation.ground_truth import (
    counted,
    distinct_segments,
    ground_truth_from_json,
    ground_truth_of,
    segment_tiou,
)
from tests.real_data import real_file


def annotation(start: float, end: float, label: str = "Dive") -> dict[str, Any]:
    return {"segment": [start, end], "label": label}


DATABASE = {
    "database": {
        "b": {"subset": "validation", "annotations": [annotation(0, 1, "Jump"), annotation(2, 3, "Ambiguous")]},
        "a": {"subset": "validation", "annotations": [annotation(4, 5)]},
        "c": {"subset": "validation_extra", "annotations": [annotation(0, 1, "Swim")]},
        "d": {"subset": "validation", "annotations": []},
    }
}


def test_reads_exactly_one_subset_with_every_label() -> None:
    ground_truth, classes = ground_truth_from_json(DATABASE, "validation", ["Dive"])
    assert classes == ("Dive", "Jump", "Ambiguous")
    assert list(ground_truth) == ["b", "a"]
    segments, labels = ground_truth["b"]
    assert segments.tolist() == [[0, 1], [2, 3]]
    assert labels.tolist() == [1, 2]
    assert list(ground_truth_from_json(DATABASE, "validation", blocked=["b"])[0]) == ["a"]


def test_videos_as_they_are_read_give_the_same_truth_as_their_file() -> None:
    path = real_file("annotations/thumos_14_anno.json")
    videos = select_subset(load_annotations(path), "validation", path)
    expected, names = ground_truth_from_json(json.loads(path.read_text()), "validation", ["Diving"])
    found, classes = ground_truth_of(videos, ["Diving"])
    assert classes == names
    assert list(found) == list(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_names_the_subsets_there_are() -> None:
    with pytest.raises(
        UserError, match=r'thumos\.json: no video of subset "test", found .*validation.*validation_extra'
    ):
        ground_truth_from_json(DATABASE, "test", source="thumos.json")


@pytest.mark.parametrize(
    "entry",
    [
        {"annotations": []},
        {"subset": "test"},
        {"subset": "test", "annotations": [{"label": "Dive"}]},
        {"subset": "test", "annotations": [annotation(0, float("nan"))]},
        {"subset": "test", "annotations": [{"segment": [0, 1, 2], "label": "Dive"}]},
        {"subset": "test", "annotations": [{"segment": [0, "one"], "label": "Dive"}]},
        [],
    ],
)
def test_names_a_malformed_video(entry: object) -> None:
    with pytest.raises(UserError, match=r"thumos\.json: database/v1: "):
        ground_truth_from_json({"database": {"v1": entry}}, "test", source="thumos.json")


@pytest.mark.parametrize("data", [{}, [], {"database": []}])
def test_refuses_another_format(data: object) -> None:
    with pytest.raises(UserError, match='no object "database"'):
        ground_truth_from_json(data, "test")


def test_tiou() -> None:
    a = np.array([[0, 10], [5, 5]])
    b = np.array([[5, 15], [10, 20], [0, 10], [5, 5]])
    # 5 / (10 + 10 - 5); they only touch; the same; empty ones overlap nothing, not even themselves
    np.testing.assert_array_equal(segment_tiou(a, b), [[1 / 3, 0, 1, 0], [0, 0, 0, 0]])


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
        ({}, {}, "no segment to evaluate against: 0 videos, 0 segments"),
        (
            {"v": (np.array([[1, 1]]), np.array([0]))},
            {"v": one()},
            "no segment to evaluate against: 1 videos, 1 segments",
        ),
        ({"v": (np.array([[0, 1]]), np.array([0]))}, {"w": one()}, "detections are in w, the ground truth has v"),
        ({"v": (np.array([[0, 1]]), np.array([0]))}, {"v": one(1)}, "detections have Jump, the ground truth has Dive"),
    ],
)
def test_refuses_what_cannot_be_compared(ground_truth: Any, detections: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        counted(ground_truth, detections, ["Dive", "Jump"])
