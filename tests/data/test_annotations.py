"""Annotation files: what is loaded, and the messages about wrong files."""

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adatad_jax.data.annotations import (
    Video,
    check_labels,
    classes_of,
    load_annotations,
    read_classes,
    select_subset,
    without_classes,
)
from adatad_jax.errors import UserError
from tests.real_data import real_file

Write = Callable[..., Path]


def entry(**changes: Any) -> dict[str, Any]:
    """Returns the annotation of a good video with changes; a value of None removes the key."""
    good: dict[str, Any] = {"subset": "training", "duration": 10.0, "frame": 300, "annotations": []}
    return {key: value for key, value in {**good, **changes}.items() if value is not None}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(database: Any, name: str = "anno.json") -> Path:
        path = tmp_path / name
        path.write_text(database if isinstance(database, str) else json.dumps({"database": database}))
        return path

    return write_file


def test_fields(write: Write) -> None:
    segments = [{"segment": [1.5, 2.25], "label": "Dive"}, {"segment": ["3", "4.5"], "label": "Jump"}]
    video = load_annotations(write({"a": entry(annotations=segments)}))["a"]
    assert (video.name, video.subset, video.duration, video.frames, video.fps) == ("a", "training", 10.0, 300, 30.0)
    assert video.segments.tolist() == [[1.5, 2.25], [3.0, 4.5]]  # the second was given as strings
    assert video.segments.dtype == np.float64
    assert video.labels == ("Dive", "Jump")


def test_video_without_segments_has_an_empty_array(write: Write) -> None:
    assert load_annotations(write({"a": entry()}))["a"].segments.shape == (0, 2)


def test_frames_from_own_fps(write: Write) -> None:
    video = load_annotations(write({"a": entry(duration="33.83", frame=None, fps=30.0)}))["a"]
    assert video.frames == 1014  # int(33.83 * 30) = int(1014.9)
    assert video.fps == 1014 / 33.83


def test_fixed_fps_decides_frames_and_rate(write: Write) -> None:
    video = load_annotations(write({"a": entry(duration=10.05, frame=999)}), fixed_fps=30)["a"]
    assert video.frames == 301  # int(10.05 * 30) = int(301.5)
    assert video.fps == 30


def test_frames_are_needed_unless_said_otherwise(write: Write) -> None:
    path = write({"a": entry(frame=None)})
    with pytest.raises(UserError, match=r'video "a": neither .*"frame".*"fps"'):
        load_annotations(path)
    assert load_annotations(path, with_frames=False)["a"].frames == 0


def test_frames_that_are_not_needed_are_not_read(write: Write) -> None:
    path = write({"a": entry(frame="many"), "b": entry(fps=0)})
    assert [video.frames for video in load_annotations(path, with_frames=False).values()] == [0, 0]


def test_without_classes_only_ignored_labels_stay() -> None:
    video = Video("a", "training", 10.0, 300, np.zeros((3, 2)), ("Dive", "Ambiguous", "Jump"))
    assert without_classes(video, ["Ambiguous"]).labels == ("action", "Ambiguous", "action")
    assert video.labels == ("Dive", "Ambiguous", "Jump")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"subset": None}, '"subset" is missing'),
        ({"subset": 3}, '"subset" is 3'),
        ({"duration": None}, '"duration" is missing'),
        ({"duration": 0}, r'"duration" is 0, .*\babove 0\b'),
        ({"duration": -1.0}, '"duration" is -1.0'),
        ({"duration": float("nan")}, '"duration" is NaN'),
        ({"duration": "long"}, '"duration" is "long"'),
        ({"duration": True}, '"duration" is true'),
        ({"frame": 0}, '"frame" is 0'),
        ({"frame": 12.5}, r'"frame" is 12\.5, .*\bwhole\b'),
        ({"frame": None, "fps": "fast"}, '"fps" is "fast"'),
        ({"frame": None, "fps": 0.01}, r'\bone frame in 10\.0 seconds\b.*"fps"'),
        ({"annotations": {}}, '"annotations" is {}'),
        ({"annotations": [7]}, r'"annotations\[0\]" is 7'),
        ({"annotations": [{"label": "x"}]}, r'"annotations\[0\].segment" is missing'),
        ({"annotations": [{"segment": [1], "label": "x"}]}, r"segment\" is \[1\]"),
        ({"annotations": [{"segment": [1, float("inf")], "label": "x"}]}, r"segment\" is \[1, Infinity\]"),
        ({"annotations": [{"segment": [1, 2, 3], "label": "x"}]}, r'segment" is \[1, 2, 3\], .*\[start, end\]'),
        ({"annotations": [{"segment": [1, 2]}]}, r'"annotations\[0\].label" is missing'),
        ({"annotations": [{"segment": [1, 2], "label": 4}]}, r'"annotations\[0\].label" is 4'),
    ],
)
def test_wrong_field_is_named(write: Write, changes: dict[str, Any], told: str) -> None:
    path = write({"good": entry(), "bad": entry(**changes)})
    with pytest.raises(UserError, match=told) as raised:
        load_annotations(path)
    assert str(path) in str(raised.value)
    assert 'video "bad"' in str(raised.value)
    assert "good" not in str(raised.value)


def test_all_problems_are_listed_up_to_a_limit(write: Write) -> None:
    with pytest.raises(UserError) as raised:
        load_annotations(write({f"v{i:02d}": entry(duration=0) for i in range(25)}))
    message = str(raised.value)
    assert re.search(r"anno\.json: 25\b", message)
    assert 'video "v00"' in message
    assert 'video "v19"' in message
    assert 'video "v20"' not in message
    assert message.endswith("5 more")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("not json", "not a JSON"),
        ("[]", r'"database".*found .*\blist\b'),
        ('{"videos": {}}', r"found .*\['videos'\]"),
        ('{"database": {}}', r"non-empty .*found .*\['database'\]"),
        ('{"database": {"a": 3}}', r'video "a": .*\bobject\b.*\b3\b'),
    ],
)
def test_wrong_file_is_named(write: Write, content: str, told: str) -> None:
    path = write(content)
    with pytest.raises(UserError, match=told) as raised:
        load_annotations(path)
    assert str(path) in str(raised.value)


def test_repeated_video_is_not_silently_replaced(write: Write) -> None:
    one = json.dumps(entry())
    path = write(f'{{"database": {{"a": {one}, "a": {one}}}}}')
    with pytest.raises(UserError, match=r'key "a" .*\bmore than once\b'):
        load_annotations(path)


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.json: no such file"):
        load_annotations(tmp_path / "absent.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xff\x00\x01")
    with pytest.raises(UserError, match=r"binary\.json: .*UTF-8"):
        load_annotations(tmp_path / "binary.json")


def test_video_without_annotations_has_no_segments(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    """The test videos of Ego4D and EPIC-Kitchens lack the key; a file without any is wrong."""
    bare = entry(subset="test", annotations=None)
    with caplog.at_level(logging.WARNING):
        videos = load_annotations(write({"a": entry(), "b": bare, "c": bare}))
    assert videos["b"].segments.shape == (0, 2)
    assert re.search(r'anno\.json: .*"annotations".*\b2 of subset "test"', caplog.text)
    with pytest.raises(UserError, match=r'anno\.json: (.|\n)*\bno video\b.*"annotations"'):
        load_annotations(write({"b": bare, "c": bare}))


def test_ego4d_and_epic_kitchens_as_converted(write: Write) -> None:
    """The release's converters write these keys: Ego4D without fps, EPIC-Kitchens without frame or fps."""
    ego = {"duration": 480.0, "frame": 14400, "subset": "train", "annotations": [{"segment": [1.5, 2], "label": "cut"}]}
    assert load_annotations(write({"clip": ego}))["clip"].fps == 30
    label = {"segment": [0.14, 3.37], "label": "id_003", "label_name": "door"}
    path = write({"P01_01": {"subset": "train", "duration": 1652.152817, "annotations": [label]}})
    with pytest.raises(UserError, match=r'video "P01_01": neither .*"frame".*"fps".*--config\.data\.fps'):
        load_annotations(path)
    video = load_annotations(path, fixed_fps=30)["P01_01"]
    assert (video.frames, video.labels) == (49564, ("id_003",))  # int(1652.152817 * 30) = int(49564.58)


def test_reversed_segment_is_left_out_with_a_warning(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    segments = [{"segment": [2, 1], "label": "x"}, {"segment": [3, 3], "label": "y"}]
    with caplog.at_level(logging.WARNING):
        video = load_annotations(write({"a": entry(annotations=segments)}))["a"]
    assert video.segments.tolist() == [[3, 3]]
    assert video.labels == ("y",)
    assert re.search(r"anno\.json: 1 segments?\b.*\bbefore\b", caplog.text)
    assert 'video "a": "annotations[0].segment" is [2.0, 1.0]' in caplog.text


def test_segment_outside_its_video_stays_with_a_warning(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    segments = [{"segment": [12, 13], "label": "x"}, {"segment": [9, 11], "label": "y"}]
    with caplog.at_level(logging.WARNING):
        video = load_annotations(write({"a": entry(annotations=segments)}))["a"]
    assert len(video.segments) == 2
    assert re.search(r"anno\.json: 1 segments?\b.*\boutside\b", caplog.text)
    assert re.search(r'video "a" .*\b10 seconds\b.*\[12\.0, 13\.0\]', caplog.text)


def video_of(subset: str, *labels: str) -> Video:
    return Video("v", subset, 1.0, 30, np.zeros((len(labels), 2)), labels)


def test_subset_must_match_exactly() -> None:
    videos = {"a": video_of("Validation"), "b": video_of("Test"), "c": video_of("Validation")}
    assert list(select_subset(videos, "Validation", "x.json")) == ["a", "c"]
    for close in ("validation", "Val", ""):
        with pytest.raises(UserError, match=r'x\.json: .*"Test" \(1\b.*"Validation" \(2\b') as raised:
            select_subset(videos, close, "x.json")
        assert "--config.data.train_subset=Validation --config.data.test_subset=Test" in str(raised.value)


def test_subsets_to_set_are_named_as_data_sets_use_them() -> None:
    """ActivityNet trains on "training" and tests on "validation"; for other names the message leaves placeholders."""
    videos = {name: video_of(name) for name in ("testing", "training", "validation")}
    with pytest.raises(UserError, match=r"train_subset=training --config\.data\.test_subset=validation"):
        select_subset(videos, "train", "x.json")
    with pytest.raises(UserError, match=r'"mine" \(1\b.*train_subset=NAME --config\.data\.test_subset=NAME'):
        select_subset({"a": video_of("mine")}, "train", "x.json")


def test_classes_are_sorted_labels_of_all_subsets() -> None:
    assert classes_of({"a": video_of("t", "b", "Ambiguous"), "b": video_of("u", "a", "b")}) == ("Ambiguous", "a", "b")


def test_class_file(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes("\ufeffDive\n\n  High jump \r\nbillard\n".encode())
    assert read_classes(path) == ("Dive", "High jump", "billard")  # the order of the file, not sorted
    path.write_text("a\nb\na\n")
    with pytest.raises(UserError, match=r'classes\.txt: .*\bmore than once\b.*"a";'):
        read_classes(path)
    path.write_text("\n \n")
    with pytest.raises(UserError, match=r"classes\.txt: .*\bempty\b"):
        read_classes(path)
    with pytest.raises(UserError, match=r"absent\.txt: no such file"):
        read_classes(tmp_path / "absent.txt")


def test_labels_outside_the_class_list_are_counted() -> None:
    videos = {"a": video_of("t", "x", "y", "Ambiguous"), "b": video_of("t", "y", "z")}
    check_labels(videos, ["x", "y", "z"], ["Ambiguous"], "f.json")
    with pytest.raises(UserError, match=r'f\.json: .*"y" \(2\b.*"z" \(1\b') as raised:
        check_labels(videos, ["x"], ["Ambiguous"], "f.json")
    assert '"x"' not in str(raised.value)


@pytest.mark.parametrize(
    ("file", "videos", "segments", "classes"),
    [
        ("thumos_14_anno.json", {"training": 200, "validation": 211}, {"training": 3003, "validation": 3325}, 20),
        ("thumos14_actionformer.json", {"Validation": 200, "Test": 212}, {}, 20),
        ("multithumos.json", {"Validation": 200, "Test": 212}, {}, 65),
        ("activitynet13/anet_anno_action.json", {"training": 9649, "validation": 4728, "testing": 4851}, {}, 200),
    ],
)
def test_real_annotations(file: str, videos: dict[str, int], segments: dict[str, int], classes: int) -> None:
    path = real_file(f"annotations/{file}")
    loaded = load_annotations(path)
    assert len(classes_of(loaded)) == classes
    for subset, count in videos.items():
        assert len(select_subset(loaded, subset, path)) == count
    for subset, count in segments.items():
        assert sum(len(video.labels) for video in select_subset(loaded, subset, path).values()) == count
