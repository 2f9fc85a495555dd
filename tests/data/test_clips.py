"""Training clips of real encoded videos: their frames, crops, draws and order."""

import logging
from collections import Counter
from pathlib import Path

import jax
import numpy as np
import pytest

from adatad_jax.augmentation.crops import draw_multi_scale_crop
from adatad_jax.augmentation.draws import NO_AUGMENTATION
from adatad_jax.config.clip_fields import (
    ClipsConfig,
    FinetuningConfig,
    LabelledClipsConfig,
    PretrainingConfig,
    PretrainingSteps,
)
from adatad_jax.data.cache import CacheTask, cache_video
from adatad_jax.data.clip_videos import ClipVideo
from adatad_jax.data.clips import TrainingClips, finetuning_clips, pretraining_clips
from adatad_jax.data.sampling import EveryFrame
from adatad_jax.errors import UserError
from tests.data.clip_files import HEIGHT, WIDTH, clip_video, numbered

FRAMES = {"a": 40, "b": 35, "c": 20, "d": 90, "e": 50}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ClipVideo]:
    folder = tmp_path_factory.mktemp("videos")
    return {
        name: clip_video(folder / f"{name}.mkv", count, label) for label, (name, count) in enumerate(FRAMES.items())
    }


def pretraining(seed: int = 0, batch_size: int = 2, **fields: object) -> PretrainingConfig:
    values = {"stride": 2, "short_side": HEIGHT, "crop": 16, "retries": 0, **fields}
    data = ClipsConfig(**values)  # type: ignore[arg-type]
    return PretrainingConfig(seed=seed, data=data, train=PretrainingSteps(batch_size=batch_size))


def finetuning(**fields: object) -> FinetuningConfig:
    values = {"stride": 2, "short_side": HEIGHT, "crop": 16, **fields}
    return FinetuningConfig(data=LabelledClipsConfig(**values))  # type: ignore[arg-type]


def assert_equal(one: object, two: object) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, two)


def test_a_sample_depends_on_seed_epoch_and_index_alone(videos: dict[str, ClipVideo]) -> None:
    clips = pretraining_clips(videos, pretraining())
    first, again = clips.load(0, 3), pretraining_clips(videos, pretraining()).load(0, 3)
    assert first.frames.shape == (16, 16, 16, 3)
    assert first.frames.dtype == np.uint8
    assert (first.video, first.label, first.repeated, first.matched) == ("d", 3, 0, True)
    assert_equal(first, again)
    others = [clips.load(1, 3), pretraining_clips(videos, pretraining(seed=1)).load(0, 3)]
    assert all((first.frames != other.frames).any() for other in others)


def test_frames_are_a_stride_apart_and_start_anywhere(videos: dict[str, ClipVideo]) -> None:
    """A video of 35 frames holds clips at stride 2 (31 frames) from 5 places, one of 20 frames a clip at stride 1."""
    clips = pretraining_clips(videos, pretraining())
    starts = set()
    for epoch in range(40):
        numbers = clips.load(epoch, 1).frames[:, 8, 8, 0]
        assert (np.diff(numbers) == 2).all()
        starts.add(int(numbers[0]))
        numbers = clips.load(epoch, 2).frames[:, 8, 8, 0]
        assert (np.diff(numbers) == 1).all()
    assert starts == {0, 1, 2, 3, 4}


def test_videos_that_are_too_short_are_told_once(
    videos: dict[str, ClipVideo], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        clips = pretraining_clips(videos, pretraining(stride=3))
        clips.load(0, 0)
    (said,) = [record.getMessage() for record in caplog.records]
    assert "3 of 5 videos have fewer than 46 frames" in said
    assert "a, b, c" in said
    caplog.clear()
    pretraining_clips(videos, pretraining(stride=1))
    assert not caplog.records


def test_several_clips_of_a_video_differ(videos: dict[str, ClipVideo]) -> None:
    clips = pretraining_clips(videos, pretraining(clips=3))
    assert len(clips) == 15
    own = [clips.load(0, index) for index in range(9, 12)]
    assert [clip.video for clip in own] == ["d"] * 3
    assert len({clip.frames.tobytes() for clip in own}) == 3
    assert clips.load(0, 12).video == "e"


def test_order_is_a_permutation_cut_to_whole_batches(videos: dict[str, ClipVideo]) -> None:
    def orders(batch_size: int, clips: int) -> list[list[int]]:
        made = pretraining_clips(videos, pretraining(batch_size=batch_size, clips=clips))
        return [made.order(epoch).tolist() for epoch in range(4)]

    for batch_size, clips, length in ((2, 1, 4), (5, 1, 5), (4, 2, 8), (6, 1, 5)):  # with 5 of 6, all are kept
        found = orders(batch_size, clips)
        assert all(len(set(order)) == len(order) == length for order in found)
        assert len({tuple(order) for order in found}) > 1
        assert {index for order in found for index in order} <= set(range(5 * clips))


def test_pretraining_has_multi_scale_crops_and_no_augmentation(videos: dict[str, ClipVideo]) -> None:
    """Green and blue of the first pixel tell where a crop lies; it lies as the published rule draws it."""
    clips = pretraining_clips(videos, pretraining())
    rng = np.random.default_rng(0)
    boxes = {draw_multi_scale_crop(rng, HEIGHT, WIDTH, 16) for _ in range(3000)}
    for epoch in range(10):
        sample = clips.load(epoch, 0)
        assert sample.augmentation == NO_AUGMENTATION
        left, right = (sample.frames[0, 8, column, 1] / 5 for column in (0, 15))
        top, bottom = (sample.frames[0, row, 8, 2] / 7 for row in (0, 15))
        # Pixels of the resized crop are centred at (i + 1/2) * side / 16 - 1/2 of the box.
        near = [
            box
            for box in boxes
            if np.allclose(
                (left, right, top, bottom),
                (
                    *(box[1] + np.array([0.5, 15.5]) * box[3] / 16 - 0.5),
                    *(box[0] + np.array([0.5, 15.5]) * box[2] / 16 - 0.5),
                ),
                atol=0.2,
            )
        ]
        assert near


def test_flip_by_its_probability(videos: dict[str, ClipVideo]) -> None:
    def rises(flip: float, epochs: int = 1) -> Counter[bool]:
        clips = pretraining_clips(videos, pretraining(flip=flip))
        rows = [
            clips.load(epoch, index).frames[0, 8, :, 1].astype(int) for epoch in range(epochs) for index in range(5)
        ]
        assert all(len(set(np.sign(np.diff(row)).tolist())) == 1 for row in rows)
        return Counter(bool(row[-1] > row[0]) for row in rows)

    assert rises(0.0) == {True: 5}
    assert rises(1.0) == {False: 5}
    assert min(rises(0.5, 8).values()) >= 8  # of 40


def test_finetuning_draws_crops_and_what_the_accelerator_does(videos: dict[str, ClipVideo]) -> None:
    clips = finetuning_clips(videos, finetuning(flip=0.0))
    samples = [clips.load(0, index) for index in range(5)]
    assert [sample.label for sample in samples] == list(range(5))
    assert len({sample.frames[0, :, :, 1:].tobytes() for sample in samples}) == 5
    draws = [sample.augmentation for sample in samples]
    assert all(one.operations is not None and one.jitter is not None for one in draws)
    assert len({tuple(one.jitter.factors) for one in draws if one.jitter is not None}) == 5

    data = {"random_resized_crop": False, "rand_augment": False, "color_jitter": False, "flip": 0.0}
    centred = finetuning_clips(videos, finetuning(**data)).load(0, 0)
    assert centred.augmentation == NO_AUGMENTATION
    first = int(centred.frames[0, 0, 0, 0])
    np.testing.assert_array_equal(centred.frames, numbered(40)[first : first + 31 : 2, 8:24, 16:32])


def test_what_fills_up_is_shaped_as_a_sample(videos: dict[str, ClipVideo]) -> None:
    made: list[TrainingClips] = [pretraining_clips(videos, pretraining()), finetuning_clips(videos, finetuning())]
    made.append(finetuning_clips(videos, finetuning(color_jitter=False)))
    for clips in made:
        sample, other = clips.load(0, 0), clips.filler
        assert jax.tree.structure(sample.augmentation) == jax.tree.structure(other.augmentation)
        pairs = (jax.tree.leaves((one.frames, one.augmentation)) for one in (sample, other))
        for one, two in zip(*pairs, strict=True):
            assert (one.shape, one.dtype) == (two.shape, two.dtype)
        assert other.label == -1


def test_memory_and_cache_change_nothing(videos: dict[str, ClipVideo], tmp_path: Path) -> None:
    for name, video in videos.items():
        assert video.file is not None
        cache_video(CacheTask(tmp_path, name, video.file, (24,), EveryFrame(), None))
    config = pretraining(short_side=24)
    files = pretraining_clips(videos, config)
    gone = {name: video._replace(file=None) for name, video in videos.items()}
    cached = pretraining_clips(gone, pretraining(short_side=24, cache=str(tmp_path)))
    kept = pretraining_clips(videos, pretraining(short_side=24, in_memory=True))
    for index in range(5):
        for other in (cached, kept):
            assert_equal(files.load(3, index), other.load(3, index))
    with pytest.raises(UserError, match=r"a\.array_record: not there"):
        pretraining_clips(gone, pretraining(short_side=32, cache=str(tmp_path)))


def test_a_video_that_cannot_be_read_is_named(videos: dict[str, ClipVideo], tmp_path: Path) -> None:
    (tmp_path / "gone.mkv").write_bytes(b"nothing")
    broken = {"gone": videos["a"]._replace(file=tmp_path / "gone.mkv")}
    with pytest.raises(UserError, match=r"/gone\.mkv"):
        pretraining_clips(broken, pretraining()).load(0, 0)
