"""The number by which checkpoints of each task are compared."""

import pytest

from adatad_jax.training.retention import best_step
from adatad_jax.training.scores import in_words, rank_of, scalars


def test_more_accuracy_is_better_and_less_error() -> None:
    accuracies = {1: {"top1": 0.25}, 2: {"top1": 0.5}, 3: {"loss": 0.1}, 4: {"top1": 0.5}}
    assert best_step([1, 2, 3, 4], accuracies) == 2  # the earliest of equal ones
    errors = {1: {"reconstruction_error": 0.9}, 2: {"reconstruction_error": 0.7}, 3: {"reconstruction_error": 0.8}}
    assert best_step([1, 2, 3], errors) == 2
    assert best_step([3], {3: {"loss": 0.1}}) is None
    assert rank_of({"loss": 0.1}) is None


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"average_mAP": 0.6903}, "average mAP 69.03"),
        ({"top1": 0.5, "top5": 1.0}, "top-1 accuracy 50.00"),
        ({"reconstruction_error": 0.75}, "error of reconstruction 0.7500"),
        ({"loss": 1.0}, ""),
    ],
)
def test_scores_in_words(record: dict[str, float], words: str) -> None:
    assert in_words(record) == words


def test_what_is_shown_of_an_evaluation() -> None:
    detector = {"loss": 2.0, "average_mAP": 0.5, "mAP": {"0.3": 0.6}, "class_AP": {"jump": 0.4}}
    assert scalars(detector) == {"test/average_mAP": 0.5, "test/mAP@0.3": 0.6, "test_AP/jump": 0.4}
    classifier = {"loss": 2.0, "top1": 0.5, "top5": 0.75, "recall": {"jump": 1.0}}
    assert scalars(classifier) == {"test/top1": 0.5, "test/top5": 0.75}
    assert scalars({"loss": 2.0}) == {}
