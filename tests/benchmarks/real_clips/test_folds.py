"""Folds of real clips: nothing that is held out is read in training, not even without labels."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.real_clips.folds import CLASSES, FOLDS, TEST, Fold, classified, fold_of, make_fold, read_segments
from benchmarks.real_clips.footage import GMDCSA, LABELS, UT, Clip, find_clips
from benchmarks.real_clips.trainings import (
    Classified,
    Detected,
    Result,
    detection_config,
    finetuning_config,
    pretraining_config,
)
from benchmarks.real_clips.written import one_class_share, report
from tests.real_data import real_file
from tests.tiny_detector import write_video

TABLE = """File Name,Length (seconds),Time of Recording,Attire,Description,Classes
01.mp4,02,Day,Shirt,"Walking, then falling",Walking[0 to 1]; Fall (FW)[1 to 3]; Reading[0 to 2]
"""


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    """Eight sequences of two clips each, and two subjects with a video of 2 s each."""
    (tmp_path / "data" / GMDCSA).mkdir(parents=True)
    found = []
    for sequence in range(1, 9):
        for label in (LABELS[0], LABELS[-1]):
            name = f"set1_{len(found)}_{sequence}_{LABELS.index(label)}"
            found.append(Clip(tmp_path / "x", tmp_path / "clips" / UT / f"{name}.mkv", sequence, label))
    for subject in (1, 2):
        name = f"Subject_{subject}_Fall"
        (tmp_path / "data" / GMDCSA / f"{name}.csv").write_text(TABLE)
        found.append(Clip(tmp_path / "x", tmp_path / "clips" / GMDCSA / f"{name}_01.mkv", subject))
    for clip in found:
        clip.path.parent.mkdir(parents=True, exist_ok=True)
        if clip.label:
            clip.path.touch()
        else:
            write_video(clip.path, np.zeros((20, 16, 16, 3), np.uint8), np.arange(20) / 10)
    return found


@pytest.fixture
def fold(clips: list[Clip], tmp_path: Path) -> Fold:
    return make_fold(clips, 1, tmp_path / "fold_1", tmp_path / "data")


def test_the_real_clips_are_named_as_expected() -> None:
    """218 clips of 20 sequences, and 23 videos of four subjects, each of whom does all that is to be detected."""
    data = real_file(UT).parent
    real_file(GMDCSA)
    found = find_clips(data, Path("out"))
    labelled = [clip for clip in found if clip.label]
    assert Counter(clip.label for clip in labelled) == {**dict.fromkeys(LABELS, 20), "background": 98}
    assert {clip.group for clip in labelled} == set(range(1, 21))
    segments = read_segments(data / GMDCSA)
    own = {subject: set[str]() for subject in range(1, 5)}
    for clip in found:
        if not clip.label:
            own[clip.group] |= {label for _, _, label in segments[clip.path.stem]}
    assert len(found) == 218 + 23
    assert all(labels == set(CLASSES) for labels in own.values())


def test_each_clip_is_held_out_once_with_its_whole_group(clips: list[Clip]) -> None:
    own = {number: {clip.path for clip in clips if fold_of(clip) == number} for number in range(FOLDS)}
    assert sum(len(paths) for paths in own.values()) == len(clips)
    for clip in clips:
        alike = {other.path for other in clips if (other.group, bool(other.label)) == (clip.group, bool(clip.label))}
        assert alike <= own[fold_of(clip)]


def test_what_is_held_out_is_not_pre_trained_on(clips: list[Clip], fold: Fold) -> None:
    """Fold 1 of 4 holds out sequences 2 and 6, and subject 2."""
    read = {path.stem for path in fold.videos.rglob("*.mkv")}
    assert read == {clip.path.stem for clip in clips if clip.group not in ((2, 6) if clip.label else (2,))}
    rows = [line.split(",") for line in fold.labels.read_text().splitlines()[1:]]
    test = {Path(video).stem for video, _, subset in rows if subset == TEST}
    assert len(rows) == 16
    assert len(test) == 4
    assert not test & read


def test_intervals_are_cut_at_the_end_of_the_video_and_rare_ones_are_left_out(fold: Fold) -> None:
    database = json.loads(fold.annotations.read_text())["database"]
    assert {name: entry["subset"] for name, entry in database.items()} == {
        "Subject_1_Fall_01": "training",
        "Subject_2_Fall_01": "validation",
    }
    entry = database["Subject_2_Fall_01"]
    assert (entry["frame"], entry["duration"]) == (20, 2.0)
    assert entry["annotations"] == [
        {"segment": [0, 1], "label": "walking"},
        {"segment": [1, 2.0], "label": "falling"},
    ]


def test_of_background_a_few_clips_of_a_sequence_are_classified(clips: list[Clip]) -> None:
    path = clips[1].path
    more = [clips[1]._replace(path=path.with_stem(f"{path.stem}_{number}")) for number in range(3)]
    assert clips[1].label == "background"
    assert len(classified([*clips, *more])) == 16 + 1  # two of the first sequence
    assert len(classified(clips)) == 16  # none of GMDCSA24's


def test_both_classifiers_have_one_recipe(fold: Fold) -> None:
    pretrained, fresh = (finetuning_config(fold, Path("clips"), weights, 5).flat() for weights in ("run", ""))
    assert {name for name, value in fresh.items() if pretrained[name] != value} == {"weights"}
    encoders = [pretraining_config(fold, 5).model, detection_config(fold, Path("clips"), "run", 5).model]
    assert {(model.size, model.image_size) for model in encoders} == {("tiny", 64)}


def test_the_tables_hold_means_ends_and_what_chance_gives(clips: list[Clip]) -> None:
    def classified(top1: float, recall: float) -> Classified:
        return Classified(top1, dict.fromkeys(LABELS, recall))

    starts = [(0.6, 0.5, 0.4, 0.2), (0.8, 0.4, 0.6, 0.5)]
    results = [
        Result(
            fold,
            {"masked pre-training": classified(one, own), "random weights": classified(other, its)},
            Detected(0.1 * (fold + 1), 0.05),
        )
        for fold, (one, own, other, its) in enumerate(starts)
    ]
    assert one_class_share(clips, 0) == 0.5
    text = report(results, clips, [3, 4, 5, 6])
    assert "| masked pre-training | 70.0 (60.0 to 80.0) | 45.0 (40.0 to 50.0) | 45 |" in text
    assert "| always one class | 50.0 (50.0 to 50.0) | 14.3 |" in text
    assert "+20.0 (+20.0 to +20.0) points of top-1, +10.0 (-10.0 to +30.0) of mean recall, above on 1 of 2" in text
    assert "| 1 | 1 | 3 | 10.0 | 5.0 |" in text
    assert "| mean | | | 15.0 (10.0 to 20.0) | 5.0 (5.0 to 5.0) |" in text
