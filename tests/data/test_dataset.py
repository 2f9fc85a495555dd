"""The data set as a run sees it: files found, windows drawn, batches of one shape, on real encoded videos."""

import json
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from adatad_jax.config import default
from adatad_jax.data.dataset import (
    SlidingWindows,
    Subset,
    TrainingWindows,
    check_files,
    find_files,
    load_classes,
    load_subset,
    shuffle_within,
)
from adatad_jax.data.loader import grouped, load_ahead, training_batch
from adatad_jax.demo.dataset import generate
from adatad_jax.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    generate(path, seed=0, train_videos=5, test_videos=2, seconds=(3.0, 12.0), workers=1)
    return path


@pytest.fixture
def config(folder: Path) -> ConfigDict:
    config = default()
    config.data.videos = str(folder / "videos")
    config.data.annotations = str(folder / "annotations.json")
    config.data.stride, config.data.window = 2, 64
    config.data.train_short_side, config.data.test_short_side, config.data.crop = 40, 32, 32
    return config


@pytest.fixture
def training(config: ConfigDict) -> tuple[Subset, TrainingWindows]:
    subset = load_subset(config, "training", load_classes(config), training=True)
    return subset, TrainingWindows(subset, config)


def test_a_sample_depends_on_seed_epoch_and_index_alone(training: tuple[Subset, TrainingWindows]) -> None:
    windows = training[1]
    first, again, later = windows.load(0, 3), windows.load(0, 3), windows.load(1, 3)
    assert first.frames.shape == (64, 32, 32, 3)
    assert first.frames.dtype == np.uint8
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert (first.frames != later.frames).any()


def test_keeping_frames_in_memory_changes_nothing(config: ConfigDict, training: tuple[Subset, TrainingWindows]) -> None:
    config.data.in_memory = True
    kept = TrainingWindows(training[0], config)
    for index in range(3):
        for one, two in zip(training[1].load(2, index), kept.load(2, index), strict=True):
            np.testing.assert_array_equal(one, two)


def test_order_is_a_permutation_cut_to_the_published_devices(training: tuple[Subset, TrainingWindows]) -> None:
    """5 videos over the 2 devices of the published run: 4 an epoch, another 4 next time."""
    orders = [training[1].order(epoch) for epoch in range(3)]
    assert all(len(set(order.tolist())) == len(order) == 4 for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_segments_of_a_sample_lie_where_their_frames_are(training: tuple[Subset, TrainingWindows]) -> None:
    for index in range(5):
        sample = training[1].load(0, index)
        assert sample.segments.min(initial=0) >= 0
        assert sample.segments.max(initial=0) <= 64
        assert len(sample.segments) == len(sample.labels)
        assert not sample.mask[np.argmin(sample.mask) :].any() or sample.mask.all()


def test_test_windows_cover_every_video_and_carry_no_truth(config: ConfigDict) -> None:
    subset = load_subset(config, "validation", load_classes(config), training=False)
    windows = SlidingWindows(subset, config)
    for name, video in subset.videos.items():
        spans = [(w.first, w.end) for w in windows.windows if w.video == name]
        covered = {position for first, end in spans for position in range(first, end)}
        assert covered == set(range(-(-video.frames // 2)))
    sample = windows.load(0)
    assert sample.frames.shape == (64, 32, 32, 3)
    assert not len(sample.segments)


def test_shuffling_keeps_each_groups_frames() -> None:
    frames = np.arange(40).reshape(40, 1, 1, 1)
    shuffled = shuffle_within(frames, 16, np.random.default_rng(0)).ravel()
    for group in (range(16), range(16, 32), range(32, 40)):
        assert sorted(shuffled[group.start : group.stop]) == list(group)
    assert (shuffled != frames.ravel()).any()
    assert shuffle_within(frames, 0, np.random.default_rng(0)) is frames


def test_loading_ahead_keeps_order_and_hands_errors_over() -> None:
    def load(item: int) -> int:
        if item == 7:
            raise UserError("item 7 is broken")
        return item * item

    assert list(load_ahead(range(5), load, threads=3, ahead=4)) == [(i, i * i) for i in range(5)]  # type: ignore[arg-type]
    with pytest.raises(UserError, match="item 7"):
        list(load_ahead(range(20), load, threads=3, ahead=4))  # type: ignore[arg-type]


def test_short_batch_is_filled_with_windows_of_weight_zero(training: tuple[Subset, TrainingWindows]) -> None:
    samples = [training[1].load(0, index) for index in range(3)]
    batch = training_batch(samples, 4, training[1].segment_rows)
    assert batch.frames.shape == (4, 64, 32, 32, 3)
    np.testing.assert_array_equal(batch.weight, [1, 1, 1, 0])
    for row, sample in enumerate(samples):
        count = len(sample.labels)
        np.testing.assert_array_equal(batch.labels[row, :count], sample.labels)
        np.testing.assert_array_equal(batch.segments[row, :count], sample.segments)
        assert (batch.labels[row, count:] == -1).all()
    assert [len(group) for group in grouped(range(10), 4)] == [4, 4, 2]


def test_files_are_found_by_name_whatever_their_extension(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.AVI", "c.txt", "d.mkv", "d.mp4"):
        (tmp_path / name).touch()
    assert [p.name for p in find_files(tmp_path, ["a", "b"]).values()] == ["a.mp4", "b.AVI"]
    with pytest.raises(UserError, match=r"1 of 2 annotated videos are missing(.|\n)*\n  c$"):
        find_files(tmp_path, ["a", "c"])
    with pytest.raises(UserError, match="several files for one video"):
        find_files(tmp_path, ["a", "d"])
    with pytest.raises(UserError, match="no such folder"):
        find_files(tmp_path / "nowhere", ["a"])


def test_every_unreadable_video_is_listed(tmp_path: Path, training: tuple[Subset, TrainingWindows]) -> None:
    subset = training[0]
    bad = {}
    for name in list(subset.files)[:2]:
        bad[name] = tmp_path / f"{name}.mp4"
        bad[name].write_bytes(b"nothing")
    with pytest.raises(UserError, match="2 of 5 videos cannot be read") as caught:
        check_files(Subset(subset.videos, {**subset.files, **bad}, subset.classes, subset.truth), threads=2)
    assert all(str(path) in str(caught.value) for path in bad.values())


def test_training_leaves_out_videos_without_segments(config: ConfigDict, folder: Path, tmp_path: Path) -> None:
    content = json.loads((folder / "annotations.json").read_text())
    content["database"]["train_002"]["annotations"] = []
    config.data.annotations = str(tmp_path / "annotations.json")
    Path(config.data.annotations).write_text(json.dumps(content))
    classes = load_classes(config)
    assert "train_002" not in load_subset(config, "training", classes, training=True).videos
    assert "train_002" in load_subset(config, "training", classes, training=False).videos
    for entry in content["database"].values():
        entry["annotations"] = [{"segment": [1, 2], "label": "Ambiguous"}]
    Path(config.data.annotations).write_text(json.dumps(content))
    with pytest.raises(UserError, match="no video of subset 'training' has a segment"):
        load_subset(config, "training", classes, training=True)


def test_a_video_of_another_length_than_annotated_is_refused(config: ConfigDict, folder: Path, tmp_path: Path) -> None:
    content = json.loads((folder / "annotations.json").read_text())
    content["database"]["train_001"]["frame"] *= 10
    content["database"]["train_003"]["duration"] *= 3
    config.data.annotations = str(tmp_path / "annotations.json")
    Path(config.data.annotations).write_text(json.dumps(content))
    subset = load_subset(config, "training", load_classes(config), training=True)
    with pytest.raises(UserError, match="2 of 5 videos") as caught:
        check_files(subset, threads=2)
    assert "train_001.mp4" in str(caught.value)
    assert "train_003.mp4" in str(caught.value)
