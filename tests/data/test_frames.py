"""The frames of a window from files, from memory and from a cache."""

import logging
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from adatad_jax.config.fields import Config
from adatad_jax.console import warnings_to
from adatad_jax.data.cache import CacheTask, cache_video
from adatad_jax.data.dataset import TrainingWindows
from adatad_jax.data.frames import FrameSource
from adatad_jax.data.inference_windows import inference_windows
from adatad_jax.data.loader import unwrap
from adatad_jax.data.subset import Subset, load_classes, load_subset
from adatad_jax.data.usable_videos import usable
from adatad_jax.demo.dataset import generate
from adatad_jax.errors import UserError
from adatad_jax.video import limits, steady
from adatad_jax.video.decode import open_video
from adatad_jax.video.transforms import resize_short_side
from tests.data.generated import config_of

SIDE = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    generate(path, seed=0, train_videos=2, test_videos=1, seconds=(3.0, 5.0), workers=1)
    return path


@pytest.fixture
def config(folder: Path) -> Config:
    config = config_of(folder, window=32, crop=32, train_short_side=SIDE)
    return config.with_fields({"train.release_gpus": 1})


def training_subset(config: Config) -> Subset:
    return load_subset(config, "training", load_classes(config), training=True)


@pytest.fixture
def cached(config: Config, tmp_path: Path) -> Config:
    """Returns a configuration that reads from a lossless cache and has no video files."""
    for subset, side in ((training_subset(config), SIDE), (validation_subset(config), 32)):
        for name, path in subset.files.items():
            cache_video(CacheTask(tmp_path / "cache", name, path, (side,), subset.sampling, None))
    other = config
    return other.with_fields({"data.cache": str(tmp_path / "cache"), "data.videos": str(tmp_path / "gone")})


def validation_subset(config: Config) -> Subset:
    return load_subset(config, "validation", load_classes(config), training=False)


def test_a_box_of_the_scaled_frames_is_read(config: Config) -> None:
    subset = training_subset(config)
    (name, path), *_ = subset.files.items()
    source, indices = FrameSource(subset.files, config.data, subset.sampling, SIDE), np.array([4, 0, 4])
    whole = resize_short_side(open_video(path).read([4, 0, 4]), SIDE)
    assert source.size(name) == whole.shape[1:3]
    np.testing.assert_array_equal(source.read(name, indices, (3, 5, 20, 20), 20), whole[:, 3:23, 5:25])
    config = config.with_fields({"data.in_memory": True})
    kept = FrameSource(subset.files, config.data, subset.sampling, SIDE)
    np.testing.assert_array_equal(kept.read(name, indices, (3, 5, 20, 20), 20), whole[:, 3:23, 5:25])
    for one in (source, kept):
        np.testing.assert_array_equal(one.read_whole(name, indices), whole)


def test_windows_from_a_cache_equal_those_from_the_videos_which_may_be_gone(config: Config, cached: Config) -> None:
    ours = TrainingWindows(training_subset(config), config)
    theirs = TrainingWindows(usable(training_subset(cached), cached), cached)
    for index in range(2):
        np.testing.assert_array_equal(ours.load(1, index).frames, theirs.load(1, index).frames)
    one = list(inference_windows(validation_subset(config), config).stream(threads=2, ahead=2))
    two = list(inference_windows(validation_subset(cached), cached).stream(threads=2, ahead=2))
    assert len(one) == len(two)
    for (window, sample), (other, cached_sample) in zip(one, two, strict=True):
        assert window == other
        np.testing.assert_array_equal(unwrap(sample).frames, unwrap(cached_sample).frames)


def test_a_cache_that_lacks_a_video_names_it(cached: Config) -> None:
    next(Path(cached.data.cache).glob("*/train_001.array_record")).unlink()
    with pytest.raises(UserError, match=r"train_001"):
        usable(training_subset(cached), cached)
    with pytest.raises(UserError, match=r"train_001\.array_record: (not there|missing)\b"):
        TrainingWindows(training_subset(cached), cached)


def test_a_read_that_hangs_is_given_up_by_name(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads a pipe without a writer, bypassing the check that refuses pipes."""
    os.mkfifo(tmp_path / "clip.mp4")
    subset = training_subset(config)
    (name, _), *_ = subset.files.items()
    subset.files[name] = tmp_path / "clip.mp4"
    monkeypatch.setattr(steady, "steady_layout", lambda path, *_: path.read_bytes())
    config = config.with_fields({"data.time_limit": 0.3})
    with pytest.raises(UserError, match=r"/clip\.mp4: .*\b0\.3 s\b"):
        TrainingWindows(subset, config).load(0, 0)
    os.close(os.open(tmp_path / "clip.mp4", os.O_WRONLY))  # ends the abandoned thread
    for thread in [thread for thread, what in limits._stuck.items() if what == str(tmp_path / "clip.mp4")]:
        thread.join()


class PutsBack(logging.Handler):
    """Gives a file its name again once a warning names it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.said = path, list[str]()
        path.rename(path.with_suffix(".away"))

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())
        self.path.with_suffix(".away").rename(self.path)


def test_a_video_that_is_gone_for_a_moment_is_read_again(config: Config, tmp_path: Path) -> None:
    shutil.copytree(config.data.videos, tmp_path / "videos")
    config = config.with_fields({"data.videos": str(tmp_path / "videos"), "data.retries": 2})
    windows = TrainingWindows(training_subset(config), config)
    (name, path), *_ = training_subset(config).files.items()
    expected = TrainingWindows(training_subset(config), config).load(3, 0)
    with warnings_to(handler := PutsBack(path)):
        found = windows.load(3, 0)
    assert (found.video, found.repeated, expected.repeated) == (name, 1, 0)
    np.testing.assert_array_equal(found.frames, expected.frames)
    (said,) = handler.said
    assert re.search(rf"{re.escape(str(path))}: .*\b2 times\b", said)


def test_a_video_that_stays_away_fails_after_so_many_reads_and_then_at_once(config: Config, tmp_path: Path) -> None:
    shutil.copytree(config.data.videos, tmp_path / "videos")
    config = config.with_fields({"data.videos": str(tmp_path / "videos"), "data.retries": 1})
    subset = training_subset(config)
    windows = TrainingWindows(subset, config)
    subset.files[next(iter(subset.files))].unlink()
    with pytest.raises(UserError, match=r"/train_000\.mp4: .*\b2 times\b"):
        windows.load(0, 0)
    with pytest.raises(UserError, match=r"/train_000\.mp4: ((?!times).)*$"):
        windows.load(0, 0)
