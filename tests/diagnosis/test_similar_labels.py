"""Labels that look like one label spelt twice: which pairs are named, and which are not."""

import json

import pytest

from adatad_jax.diagnosis.similar_labels import similar_labels
from tests.real_data import real_file


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Fall (FW)", "Falling (FW)"),
        ("jump", "Jump"),
        ("jump", "jumps"),
        ("long jump", "long_jump"),
        ("LongJump", "long jump"),
        ("open door", "open doors"),
        ("sit", "sitting"),
        ("dive", "diving"),
        ("carry", "carries"),
        ("jumping", "jumpnig"),
        ("running", "runing"),
        ("basketball dunk", "basketbal dunk"),
        ("Walking ", "Walking"),
    ],
)
def test_one_label_spelt_twice(one: str, other: str) -> None:
    assert list(similar_labels([one, "eat", other])) == [(one, other)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Falling (FW)", "Falling (BW)"),
        ("walk", "talk"),
        ("talking", "taking"),
        ("c010", "c011"),
        ("class 1", "class 2"),
        ("shot", "shoot"),
        ("put on", "put off"),
        ("sitting", "sitting down"),
        ("throw", "throw discus"),
        ("batting", "betting"),
        ("pull", "push"),
    ],
)
def test_different_labels(one: str, other: str) -> None:
    assert not list(similar_labels([one, other]))


@pytest.mark.parametrize("file", ["thumos_14_anno.json", "multithumos.json", "activitynet13/anet_anno_action.json"])
def test_no_false_alarm_in_the_classes_of_data_sets(file: str) -> None:
    content = json.loads(real_file(f"annotations/{file}").read_text())
    database = content.get("database", content)
    assert not list(similar_labels({a["label"] for video in database.values() for a in video["annotations"]}))
