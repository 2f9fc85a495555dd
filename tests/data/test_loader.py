"""Training batches: order, continuation from any step, shares of processes, broken videos; loading ahead."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest

from adatad_jax.config.fields import Config
from adatad_jax.data.dataset import Sample, TrainingWindows
from adatad_jax.data.loader import (
    Loaded,
    TrainingBatches,
    device_parts,
    filler,
    load_ahead,
    placed_ahead,
    training_batch,
    unwrap,
)
from adatad_jax.data.subset import load_classes, load_subset
from adatad_jax.demo.dataset import generate
from adatad_jax.devices.choice import Sharing
from adatad_jax.errors import UserError
from tests.data.generated import config_of

LENGTH = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    generate(path, seed=0, train_videos=5, test_videos=1, seconds=(3.0, 5.0), workers=1)
    return path


@pytest.fixture
def config(folder: Path) -> Config:
    config = config_of(folder, window=LENGTH, crop=16, train_short_side=20)
    return config.with_fields({"train.release_gpus": 1, "train.batch_size": 2})


def windows_of(config: Config) -> TrainingWindows:
    return TrainingWindows(load_subset(config, "training", load_classes(config), training=True), config)


@pytest.fixture
def windows(config: Config) -> TrainingWindows:
    return windows_of(config)


def test_a_run_continues_at_any_sample_with_any_number_of_threads(config: Config, windows: TrainingWindows) -> None:
    """Three epochs of 5 videos in batches of 2, the last batch of each epoch filled up: 9 steps."""
    whole = list(TrainingBatches(windows, config).from_step(0, 9))
    assert [one.batch.weight.sum() for one in whole] == [2, 2, 1] * 3
    for threads, first in ((1, 1), (3, 5), (7, 8)):
        config = config.with_fields({"data.threads": threads})
        rest = TrainingBatches(windows_of(config), config).from_step(first, 9)
        for one, two in zip(rest, whole[first:], strict=True):
            jax.tree.map(np.testing.assert_array_equal, one, two)


def test_every_video_comes_once_an_epoch_in_another_order(config: Config, windows: TrainingWindows) -> None:
    drawn: list[list[int]] = []
    load = windows.load

    def noted(epoch: int, index: int) -> Sample:
        drawn[epoch].append(index)
        return load(epoch, index)

    config = config.with_fields({"data.threads": 1})
    windows.load = noted  # type: ignore[method-assign]
    for epoch in range(3):
        drawn.append([])
        list(TrainingBatches(windows, config).from_step(3 * epoch, 3 * epoch + 3))
    assert [sorted(epoch) for epoch in drawn] == [list(range(5))] * 3
    assert drawn[0] != drawn[1]


class FakeDevice(NamedTuple):
    """What is asked of a device."""

    process_index: int


def sharing_of(processes: int, each: int, groups: int, shares: int) -> Sharing:
    devices = tuple(FakeDevice(process) for process in range(processes) for _ in range(each))
    return Sharing(devices, groups, shares)  # type: ignore[arg-type]


def test_processes_load_what_their_devices_need(config: Config, windows: TrainingWindows) -> None:
    """Two devices of each of three processes; the second process has devices of both groups, and loads both windows."""
    sharing = sharing_of(processes=3, each=2, groups=2, shares=3)
    whole = list(TrainingBatches(windows, config).from_step(0, 3))
    shares = [list(TrainingBatches(windows, config, sharing, process).from_step(0, 3)) for process in range(3)]
    for step, one in enumerate(whole):
        for process, rows in enumerate((slice(0, 1), slice(0, 2), slice(1, 2))):
            expected = one.batch.part(rows, slice(None))
            jax.tree.map(np.testing.assert_array_equal, shares[process][step].batch, expected)


def test_a_window_of_two_processes_is_counted_by_the_first(config: Config, windows: TrainingWindows) -> None:
    load = windows.load
    windows.load = lambda epoch, index: load(epoch, index)._replace(matched=False)  # type: ignore[method-assign]
    sharing = sharing_of(processes=3, each=2, groups=2, shares=3)
    counts = [
        next(TrainingBatches(windows, config, sharing, process).from_step(0, 1)).unmatched for process in range(3)
    ]
    assert counts == [1, 1, 0]


def test_devices_have_the_windows_of_their_group_and_a_share_of_their_frames(
    config: Config, windows: TrainingWindows
) -> None:
    sharing = sharing_of(processes=2, each=3, groups=3, shares=2)
    config = config.with_fields({"train.batch_size": 6})
    batches = [next(TrainingBatches(windows, config, sharing, process).from_step(0, 1)).batch for process in range(2)]
    whole = next(TrainingBatches(windows, config).from_step(0, 1)).batch
    parts = [part for process in range(2) for part in device_parts(batches[process], sharing, process)]
    assert len(parts) == 6
    for number, part in enumerate(parts):
        group, share = divmod(number, 2)
        rows = slice(2 * group, 2 * group + 2)
        frames = slice(share * LENGTH // 2, (share + 1) * LENGTH // 2)
        np.testing.assert_array_equal(part.frames, whole.frames[rows, frames])
        for name in ("mask", "segments", "labels", "sample_ids", "weight", "augmentation"):
            expected = jax.tree.map(lambda array, rows=rows: array[rows], getattr(whole, name))
            jax.tree.map(np.testing.assert_array_equal, getattr(part, name), expected)


def break_video(config: Config, folder: Path, count: int) -> Config:
    """Returns a configuration for a copy of the data set whose first videos are empty files."""
    copy = folder / "videos"
    copy.mkdir()
    names = [f"train_{number:03d}" for number in range(count)]
    for path in Path(config.data.videos).iterdir():
        (copy / path.name).write_bytes(b"" if path.stem in names else path.read_bytes())
    return config.with_fields({"data.videos": str(copy)})


def test_a_broken_video_ends_the_run_or_is_skipped_by_name(config: Config, tmp_path: Path) -> None:
    config = break_video(config, tmp_path, 1)
    windows = windows_of(config)
    with pytest.raises(UserError, match=r"train_000\.mp4"):
        list(TrainingBatches(windows, config).from_step(0, 3))
    config = config.with_fields({"data.skip_broken": True})
    found = list(TrainingBatches(windows, config).from_step(0, 3))
    assert sum(one.batch.weight.sum() for one in found) == 4
    (message,) = [message for one in found for _, message in one.skipped]
    assert "train_000.mp4" in message


def test_batches_before_a_broken_video_are_all_handed_over(config: Config, tmp_path: Path) -> None:
    config = break_video(config, tmp_path, 1)
    batches = TrainingBatches(windows_of(config), config)
    order = windows_of(config).order(0)
    step = next(step for step in range(3) if 0 in order[2 * step : 2 * step + 2])
    seen = list[Loaded]()
    with pytest.raises(UserError, match=r"train_000\.mp4"):
        seen.extend(placed_ahead(batches.from_step(0, 3), Sharing(tuple(jax.devices()[:1]))))
    assert len(seen) == step
    names = [f"train_{index:03d}" for index in order]
    assert [one.videos for one in seen] == [tuple(names[2 * n : 2 * n + 2]) for n in range(step)]


def test_a_batch_of_broken_videos_counts_for_nothing(config: Config, tmp_path: Path) -> None:
    """Sooner or later all videos of a batch are broken; a run that may skip videos goes on."""
    config = break_video(config, tmp_path, 5)
    config = config.with_fields({"data.skip_broken": True})
    found = list(TrainingBatches(windows_of(config), config).from_step(0, 3))
    assert sum(len(one.skipped) for one in found) == 5
    assert not any(one.batch.weight.any() for one in found)
    assert all(one.batch.mask.all() for one in found)  # attention over nothing would be NaN


def test_loading_ahead_keeps_order_and_hands_errors_over() -> None:
    def load(item: int) -> int:
        if item == 7:
            raise UserError("item 7 is broken")
        return item * item

    found = list(load_ahead(range(10), load, threads=3, ahead=4))
    assert [(item, result) for item, result in found if item != 7] == [(i, i * i) for i in range(10) if i != 7]
    with pytest.raises(UserError, match="item 7"):
        unwrap(found[7][1])


def test_a_batch_is_filled_up_with_windows_of_weight_zero(config: Config, windows: TrainingWindows) -> None:
    samples = [windows.load(0, index) for index in range(3)]
    batch = training_batch([*samples, None], config, windows.segment_rows)
    assert batch.frames.shape == (4, LENGTH, 16, 16, 3)
    np.testing.assert_array_equal(batch.weight, [1, 1, 1, 0])
    for row, sample in enumerate(samples):
        count = len(sample.labels)
        np.testing.assert_array_equal(batch.labels[row, :count], sample.labels)
        np.testing.assert_array_equal(batch.segments[row, :count], sample.segments)
        assert (batch.labels[row, count:] == -1).all()


def test_what_fills_up_is_shaped_as_a_sample(config: Config) -> None:
    for switch in (True, False):
        config = config.with_fields({"data.rand_augment": switch, "data.color_jitter": switch})
        sample, other = windows_of(config).load(0, 0), filler(config)
        assert jax.tree.structure(sample) == jax.tree.structure(other)
        pairs = (jax.tree.leaves((one.frames, one.mask, one.augmentation)) for one in (sample, other))
        for one, two in zip(*pairs, strict=True):
            assert (one.shape, one.dtype) == (two.shape, two.dtype)


def test_batches_are_placed_one_ahead(config: Config, windows: TrainingWindows) -> None:
    taken: list[int] = []

    def source() -> Iterator[Loaded]:
        for step, one in enumerate(TrainingBatches(windows, config).from_step(0, 3)):
            taken.append(step)
            yield one

    ahead = placed_ahead(source(), Sharing(tuple(jax.devices()[:2]), groups=2))
    first = next(ahead)
    assert taken == [0, 1]
    assert first.batch.frames.shape == (2, 1, LENGTH, 16, 16, 3)
    assert {shard.device for shard in first.batch.frames.addressable_shards} == set(jax.devices()[:2])
    assert len(list(ahead)) == 2
