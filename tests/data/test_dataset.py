"""Training windows of real encoded videos: their frames, segments and order."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from adatad_jax.config.fields import Config
from adatad_jax.data.dataset import TrainingWindows, shuffle_within
from adatad_jax.data.subset import Subset, load_classes, load_subset
from adatad_jax.demo.dataset import generate
from adatad_jax.errors import UserError
from tests.data.generated import config_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    generate(path, seed=0, train_videos=5, test_videos=2, seconds=(3.0, 12.0), workers=1)
    return path


@pytest.fixture
def config(folder: Path) -> Config:
    return config_of(folder, window=64, crop=32, train_short_side=40)


@pytest.fixture
def training(config: Config) -> tuple[Subset, TrainingWindows]:
    subset = load_subset(config, "training", load_classes(config), training=True)
    return subset, TrainingWindows(subset, config)


def test_a_sample_depends_on_seed_epoch_and_index_alone(training: tuple[Subset, TrainingWindows]) -> None:
    windows = training[1]
    first, again, later = windows.load(0, 3), windows.load(0, 3), windows.load(1, 3)
    assert first.frames.shape == (64, 32, 32, 3)
    assert first.frames.dtype == np.uint8
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert (first.frames != later.frames).any()


def test_keeping_frames_in_memory_changes_nothing(config: Config, training: tuple[Subset, TrainingWindows]) -> None:
    config = config.with_fields({"data.in_memory": True})
    kept = TrainingWindows(training[0], config)
    for index in range(3):
        jax.tree.map(np.testing.assert_array_equal, training[1].load(2, index), kept.load(2, index))


def test_a_resized_video_in_memory_or_not_is_the_same_whole_video(config: Config) -> None:
    config = config.with_fields(
        {"data.sampling": "resize", "data.window": 16, "data.frames_per_position": 4, "data.class_agnostic": True}
    )
    classes = load_classes(config)
    assert classes == ("action",)
    subset = load_subset(config, "training", classes, training=True)
    windows = TrainingWindows(subset, config)
    config = config.with_fields({"data.in_memory": True})
    kept = TrainingWindows(subset, config)
    for index, (name, video) in enumerate(subset.videos.items()):
        sample = windows.load(0, index)
        jax.tree.map(np.testing.assert_array_equal, sample, kept.load(0, index))
        assert sample.frames.shape == (64, 32, 32, 3)
        assert sample.mask.shape == (16,)
        assert sample.mask.all()
        np.testing.assert_allclose(sample.segments, video.segments / video.duration * 16, atol=1e-5)
        assert sample.labels.tolist() == [0] * len(video.labels)
        assert set(video.labels).isdisjoint(classes), name  # the annotations keep their labels


def test_order_is_a_permutation_cut_to_the_published_devices(training: tuple[Subset, TrainingWindows]) -> None:
    """With 5 videos on the 2 devices of the published run, an epoch has 4 of them, and every epoch others."""
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


def test_shuffling_keeps_each_groups_frames() -> None:
    frames = np.arange(40).reshape(40, 1, 1, 1)
    shuffled = shuffle_within(frames, 16, np.random.default_rng(0)).ravel()
    for group in (range(16), range(16, 32), range(32, 40)):
        assert sorted(shuffled[group.start : group.stop]) == list(group)
    assert (shuffled != frames.ravel()).any()
    assert shuffle_within(frames, 0, np.random.default_rng(0)) is frames


def test_training_leaves_out_videos_without_segments(config: Config, folder: Path, tmp_path: Path) -> None:
    content = json.loads((folder / "annotations.json").read_text())
    content["database"]["train_002"]["annotations"] = []
    config = config.with_fields({"data.annotations": str(tmp_path / "annotations.json")})
    Path(config.data.annotations).write_text(json.dumps(content))
    classes = load_classes(config)
    assert "train_002" not in load_subset(config, "training", classes, training=True).videos
    assert "train_002" in load_subset(config, "training", classes, training=False).videos
    for entry in content["database"].values():
        entry["annotations"] = [{"segment": [1, 2], "label": "Ambiguous"}]
    Path(config.data.annotations).write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"annotations\.json: no video\b.*'training'"):
        load_subset(config, "training", classes, training=True)
