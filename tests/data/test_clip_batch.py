"""Batches of clips: continuation, shares of processes, and the partners that clips are mixed with."""

from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adatad_jax.augmentation.draws import NO_AUGMENTATION
from adatad_jax.config.clip_fields import FinetuningConfig, FinetuningSteps, LabelledClipsConfig
from adatad_jax.data.clip_batch import ClipBatch, clip_batches, stack_clips
from adatad_jax.data.clip_videos import ClipVideo
from adatad_jax.data.clips import ClipSample, TrainingClips, finetuning_clips
from adatad_jax.data.loader import device_parts, placed_ahead
from adatad_jax.devices.choice import Sharing
from tests.data.clip_files import HEIGHT, clip_video
from tests.data.test_loader import sharing_of

VIDEOS = 7


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ClipVideo]:
    folder = tmp_path_factory.mktemp("videos")
    return {f"v{number}": clip_video(folder / f"v{number}.mkv", 20 + number, number) for number in range(VIDEOS)}


def config_of(batch_size: int, **fields: object) -> FinetuningConfig:
    data = LabelledClipsConfig(stride=1, short_side=HEIGHT, crop=16, retries=0, **fields)  # type: ignore[arg-type]
    return FinetuningConfig(data=data, train=FinetuningSteps(batch_size=batch_size))


def batches_of(
    videos: dict[str, ClipVideo],
    config: FinetuningConfig,
    steps: tuple[int, int],
    sharing: Sharing | None = None,
    process: int = 0,
    mixed: bool = True,
) -> list[ClipBatch]:
    clips = finetuning_clips(videos, config)
    found = clip_batches(clips, config.data, sharing, process, mixed).from_step(*steps)
    return [one.batch for one in found]  # type: ignore[misc]


def assert_equal(one: object, two: object) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, two)


def test_a_run_continues_at_any_step_with_any_number_of_threads(videos: dict[str, ClipVideo]) -> None:
    """Of 7 videos, an epoch has one batch of 6."""
    whole = batches_of(videos, config_of(6), (0, 4))
    for threads, first in ((1, 1), (3, 2), (7, 3)):
        assert_equal(batches_of(videos, config_of(6, threads=threads), (first, 4)), whole[first:])
    for batch in whole:
        assert batch.frames.shape == batch.partners.shape == (6, 16, 16, 16, 3)
        assert batch.sample_ids.tolist() == list(range(6))
        assert len(set(batch.labels.tolist())) == 6
        assert batch.weight.tolist() == [1] * 6


def test_the_first_is_mixed_with_the_last(videos: dict[str, ClipVideo]) -> None:
    for size in (6, 5):
        (batch,) = batches_of(videos, config_of(size), (0, 1))
        reversed_ = jax.tree.map(lambda array: array[::-1], (batch.frames, batch.labels, batch.augmentation))
        assert_equal((batch.partners, batch.partner_labels, batch.partner_augmentation), reversed_)


def test_without_mixing_there_are_no_partners(videos: dict[str, ClipVideo]) -> None:
    (plain,) = batches_of(videos, config_of(6), (0, 1), mixed=False)
    assert plain.partners is plain.partner_labels is None
    assert plain.partner_augmentation == NO_AUGMENTATION
    (mixed,) = batches_of(videos, config_of(6), (0, 1))
    assert_equal(plain[:5], mixed[:5])


@pytest.mark.parametrize(("processes", "each"), [(3, 1), (3, 2), (2, 1), (1, 2)])
def test_processes_load_the_rows_of_one_and_their_partners(
    videos: dict[str, ClipVideo], processes: int, each: int
) -> None:
    sharing = sharing_of(processes, each, groups=processes * each, shares=1)
    whole = batches_of(videos, config_of(6), (0, 2))
    for process in range(processes):
        rows = sharing.rows(6, process)
        own = batches_of(videos, config_of(6), (0, 2), sharing, process)
        expected = [batch.part(slice(rows.start, rows.stop), slice(None)) for batch in whole]
        assert_equal(own, expected)


def test_a_process_loads_no_more_than_it_needs(videos: dict[str, ClipVideo]) -> None:
    """Rows 0 and 1 of 6 need rows 5 and 4; the middle two are each other's partners."""
    config = config_of(6)
    for process, expected in enumerate(({0, 1, 4, 5}, {2, 3}, {4, 5, 0, 1})):
        clips = finetuning_clips(videos, config)
        seen: list[int] = []
        load = clips.load
        clips.load = lambda epoch, index, load=load, seen=seen: seen.append(index) or load(epoch, index)  # type: ignore
        next(clip_batches(clips, config.data, sharing_of(3, 1, 3, 1), process, mixed=True).from_step(0, 1))
        assert {clips.order(0).tolist().index(index) for index in seen[: len(expected)]} == expected


def test_a_clip_without_a_partner_is_its_own(videos: dict[str, ClipVideo]) -> None:
    """Of 8 rows, 7 have clips: the first row's partner only fills up."""
    (batch,) = batches_of(videos, config_of(8), (0, 1))
    assert batch.weight.tolist() == [1] * 7 + [0]
    assert_equal(batch.partners[0], batch.frames[0])
    assert batch.partner_labels.tolist() == [batch.labels[0], *batch.labels[1:7][::-1], batch.labels[0]]
    assert batch.labels[7] == -1


def test_a_skipped_clip_is_told_once_and_leaves_its_partner_alone(videos: dict[str, ClipVideo], tmp_path: Path) -> None:
    (tmp_path / "broken.mkv").write_bytes(b"nothing")
    config = config_of(6, skip_broken=True)
    clips = finetuning_clips(videos, config)
    order = clips.order(0).tolist()
    name = clips.names[order[1]]
    broken = {**videos, name: videos[name]._replace(file=tmp_path / "broken.mkv")}
    told = []
    parts = []
    for process in range(3):
        made = clip_batches(finetuning_clips(broken, config), config.data, sharing_of(3, 1, 3, 1), process, mixed=True)
        (loaded,) = made.from_step(0, 1)
        told.append(loaded.skipped)
        parts.append(loaded.batch)
    assert [len(messages) for messages in told] == [1, 0, 0]
    ((row, message),) = told[0]
    assert (row, "broken.mkv" in message) == (1, True)
    assert parts[0].weight.tolist() == [1, 0]
    last = parts[2]
    assert isinstance(last, ClipBatch)
    assert_equal(last.partners[0], last.frames[0])  # row 4, whose partner is row 1
    assert last.partner_labels.tolist() == [order[4], order[0]]


def test_devices_have_their_rows(videos: dict[str, ClipVideo]) -> None:
    config = config_of(6)
    clips = finetuning_clips(videos, config)
    sharing = Sharing(tuple(jax.devices()[:2]), groups=2)
    whole = next(clip_batches(clips, config.data, mixed=True).from_step(0, 1)).batch
    parts = device_parts(whole, sharing)
    for number, part in enumerate(parts):
        assert_equal(part, whole.part(slice(3 * number, 3 * number + 3), slice(None)))
    placed = next(placed_ahead(clip_batches(clips, config.data, sharing, 0, mixed=True).from_step(0, 1), sharing)).batch
    assert isinstance(placed, ClipBatch)
    assert placed.partners.shape == (2, 3, 16, 16, 16, 3)
    np.testing.assert_array_equal(placed.labels.ravel(), whole.labels)  # type: ignore[attr-defined]


def numbered_clip(number: int) -> ClipSample:
    return ClipSample(np.full((16, 2, 2, 3), number, np.uint8), number)


@given(st.lists(st.booleans(), min_size=1, max_size=9), st.data())
def test_partners_do_not_depend_on_the_shape_of_the_machine(present: list[bool], data: st.DataObject) -> None:
    size = len(present)
    samples = {row: numbered_clip(row) if here else None for row, here in enumerate(present)}
    filler = numbered_clip(99)
    whole = stack_clips(samples, range(size), filler, size)
    start = data.draw(st.integers(0, size - 1))
    stop = data.draw(st.integers(start + 1, size))
    needed = {row: samples[row] for own in range(start, stop) for row in (own, size - 1 - own)}
    assert_equal(stack_clips(needed, range(start, stop), filler, size), whole.part(slice(start, stop), slice(None)))
    for row in range(size):
        if present[row]:
            partner = size - 1 - row
            assert whole.partner_labels[row] == (partner if present[partner] else row)
            assert (whole.partners[row] == whole.partner_labels[row]).all()


def test_order_and_batches_of_an_epoch(videos: dict[str, ClipVideo]) -> None:
    clips: TrainingClips = finetuning_clips(videos, config_of(3))
    assert clip_batches(clips, config_of(3).data).steps_per_epoch == 2
    assert clip_batches(finetuning_clips(videos, config_of(8)), config_of(8).data).steps_per_epoch == 1
