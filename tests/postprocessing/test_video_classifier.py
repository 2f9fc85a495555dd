"""Video-level class scores: hand-made files, arithmetic against torch, and errors for wrong files."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adatad_jax.errors import UserError
from adatad_jax.postprocessing.detections import Detections
from adatad_jax.postprocessing.video_classifier import check_annotated_classes, load_video_classifier

CLASSES = ["Dive", "Jump", "Run"]
FOUND = Detections(np.array([[0, 10], [3.5, 7]]), np.array([0.5, 0.25]), np.array([0, 0]))


def write(folder: Path, results: Any, key: str = "class", classes: Any = CLASSES) -> Path:
    path = folder / "scores.json"
    path.write_text(json.dumps({"results": results, key: classes}))
    return path


@pytest.mark.parametrize("key", ["class", "classes"])
def test_all_detections_once_for_each_of_the_best_classes_in_turn(tmp_path: Path, key: str) -> None:
    path = write(tmp_path, {"a": [0.125, 0.5, 0.25]}, key)
    classifier = load_video_classifier(path, ["a"], topk=2, sqrt=False)
    assert classifier.classes == tuple(CLASSES)
    found = classifier.classify("a", FOUND)
    assert found.segments.tolist() == [[0, 10], [3.5, 7], [0, 10], [3.5, 7]]
    assert found.labels.tolist() == [1, 1, 2, 2]
    assert found.scores.tolist() == [0.25, 0.125, 0.125, 0.0625]  # not sorted, nothing left out


def test_geometric_mean(tmp_path: Path) -> None:
    path = write(tmp_path, {"a": [0.125, 0.5, 0.0]})
    found = load_video_classifier(path, ["a"], topk=1, sqrt=True).classify("a", FOUND)
    assert found.labels.tolist() == [1, 1]
    np.testing.assert_allclose(found.scores, [0.5, 0.125**0.5], rtol=1e-7)


@pytest.mark.parametrize("sqrt", [False, True])
def test_arithmetic_is_torchs(tmp_path: Path, sqrt: bool) -> None:
    rng = np.random.default_rng(0)
    scores, video = rng.random(500, np.float32), rng.random(3)
    path = write(tmp_path, {"a": video.tolist()})
    found = load_video_classifier(path, ["a"], topk=3, sqrt=sqrt).classify(
        "a", Detections(np.zeros((500, 2)), scores, np.zeros(500))
    )
    products = [torch.from_numpy(scores) * np.float64(score) for score in sorted(video, reverse=True)]
    expected = torch.cat([product.sqrt() if sqrt else product for product in products])
    # torch's vectorised root may be off by its last bit
    np.testing.assert_allclose(found.scores.astype(np.float32), expected.numpy(), rtol=1.2e-7 if sqrt else 0)


def test_equal_scores_keep_the_order_of_the_classes(tmp_path: Path) -> None:
    path = write(tmp_path, {"a": [0.1, 0.5, 0.5]})
    assert load_video_classifier(path, ["a"], topk=2, sqrt=False).best["a"][0].tolist() == [1, 2]


def test_names_meet_with_and_without_prefix(tmp_path: Path) -> None:
    path = write(tmp_path, {"a": [1, 0, 0], "v_b": [0, 1, 0], "v_c": [0, 0, 1], "c": [1, 0, 0]})
    best = load_video_classifier(path, ["v_a", "b", "v_c", "c"], topk=1, sqrt=False).best
    assert {name: int(labels[0]) for name, (labels, _) in best.items()} == {"v_a": 0, "b": 1, "v_c": 2, "c": 0}


def test_no_detections_stay_none(tmp_path: Path) -> None:
    none = Detections(np.zeros((0, 2)), np.zeros(0), np.zeros(0))
    classifier = load_video_classifier(write(tmp_path, {"a": [1, 0, 0]}), ["a"], topk=2, sqrt=True)
    assert len(classifier.classify("a", none)) == 0


def test_unused_scores_may_be_negative(tmp_path: Path) -> None:
    path = write(tmp_path, {"a": [2.5, -1.0, 0.5]})
    assert load_video_classifier(path, ["a"], topk=2, sqrt=True).best["a"][1].tolist() == [2.5, 0.5]


@pytest.mark.parametrize(
    ("results", "told"),
    [
        ({"b": [1, 0, 0]}, r"class scores for 1 of 1 videos(.|\n)*\n  a$"),
        ({"a": [1, 0]}, "a: 2 values, expected 3 numbers"),
        ({"a": {"Dive": 1}}, "a: a dict, expected 3 numbers"),
        ({"a": [1, "0", 0]}, "a: 3 values, expected 3 numbers"),
        ({"a": [1, float("nan"), 0]}, r"\n  a: .* nan to nan, expected finite"),
        ({"a": [1, float("inf"), 0]}, r"\n  a: .* 0\.0 to inf, expected finite"),
        ({"a": [1, -2, -1]}, r"\n  a: .* -2\.0 to 1\.0, expected .*negative"),
        ([], r'expected .*"results": \{video: \[score, '),
    ],
)
def test_wrong_scores_are_refused(tmp_path: Path, results: Any, told: str) -> None:
    path = write(tmp_path, results)
    with pytest.raises(UserError, match=told) as caught:
        load_video_classifier(path, ["a"], topk=2, sqrt=False)
    assert str(path) in str(caught.value)


def test_missing_videos_are_counted_and_the_first_listed(tmp_path: Path) -> None:
    path = write(tmp_path, {"a": [1, 0, 0]})
    with pytest.raises(UserError, match="30 of 31 videos") as caught:
        load_video_classifier(path, ["a", *(f"x{n:02d}" for n in range(30))], topk=1, sqrt=False)
    assert "x19" in str(caught.value)
    assert "x20" not in str(caught.value)
    assert "10 more" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("not json", r"config\.test\.classifier=.*JSON"),
        ("[]", r'found list, expected .*"results"'),
        ('{"results": {}, "labels": []}', r"keys \['labels', 'results'\]"),
        ('{"results": {}, "class": []}', '"class" or "classes"'),
        ('{"results": {}, "class": [1, 2]}', '"class" or "classes"'),
        ('{"results": {}, "class": ["Dive", "Dive"]}', r"1 classes .*more than once(.|\n)*\n  Dive$"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "scores.json"
    path.write_text(text)
    with pytest.raises(UserError, match=told) as caught:
        load_video_classifier(path, [], topk=1, sqrt=False)
    assert str(path) in str(caught.value)
    with pytest.raises(UserError, match=r"config\.test\.classifier=.*nowhere\.json"):
        load_video_classifier(tmp_path / "nowhere.json", [], topk=1, sqrt=False)


@pytest.mark.parametrize("topk", [0, 4])
def test_more_classes_than_there_are_cannot_be_used(tmp_path: Path, topk: int) -> None:
    with pytest.raises(UserError, match=rf"config\.test\.classifier_topk={topk}: expected .*1 to 3"):
        load_video_classifier(write(tmp_path, {"a": [1, 0, 0]}), ["a"], topk=topk, sqrt=False)


def test_class_names_must_meet_the_annotations(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    classifier = load_video_classifier(write(tmp_path, {}), [], topk=1, sqrt=False)
    with caplog.at_level(logging.WARNING):
        check_annotated_classes(classifier, ["Run", "Dive"], "scores.json")
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        check_annotated_classes(classifier, ["Run", "Swim", "Walk"], "scores.json")
    (record,) = caplog.records
    assert "2 of 3 annotated labels" in record.getMessage()
    assert record.getMessage().endswith("\n  Swim\n  Walk")
    with pytest.raises(UserError, match=r'scores\.json: none of its 3 classes.*"Dive"(.|\n)*\n  Swim$'):
        check_annotated_classes(classifier, ["Swim"], "scores.json")
