"""Clips on which the backbone of the demo is trained: a label says where the object is, and their look is their own."""

from pathlib import Path

import av
import numpy as np
import pytest

from adatad_jax.demo import clips, scenes
from adatad_jax.demo.clips import FRAMES, GRID, LABELS, SIDE, generate_clips, plan_clip
from adatad_jax.demo.scenes import render
from adatad_jax.errors import UserError


@pytest.mark.parametrize("label", [0, 7, 24])
def test_the_object_stays_in_the_cell_that_the_label_names(label: int) -> None:
    row, column = divmod(label, GRID)
    assert LABELS[label] == f"row {row + 1} column {column + 1}"
    for seed in range(20):
        (shape,) = plan_clip(np.random.default_rng(seed), label).shapes
        assert shape.centres.shape == (FRAMES, 2)
        cells = np.floor((shape.centres + 0.5) * GRID - 1e-9 * np.sign(shape.centres)).astype(int)
        assert (cells == (column, row)).all()  # x is the column, y the row


def test_the_object_moves() -> None:
    for seed in range(20):
        (shape,) = plan_clip(np.random.default_rng(seed), 12).shapes
        assert np.ptp(shape.centres, axis=0).max() > 0


def test_look_is_not_that_of_the_videos_to_detect_in() -> None:
    assert not set(clips.SHAPES) & set(scenes.SHAPES)
    assert not set(LABELS) & set(scenes.KINDS)


def test_a_frame_shows_the_object_in_its_colour_on_a_ground_that_is_shaded() -> None:
    for seed in range(10):
        scene = plan_clip(np.random.default_rng(seed), 12)
        frame = next(render(scene))
        assert frame.shape == (SIDE, SIDE, 3)
        assert (frame == scene.shapes[0].colour).all(-1).any()
        assert max(scene.shapes[0].colour) >= clips.BRIGHT[0] > scene.ground.max()
        rows = np.diff(scene.ground.astype(int), axis=0)
        assert np.abs(rows).max() <= 8  # of 256 from a row to the next: no edge but the object's


def test_files_lie_in_a_folder_per_label_and_repeat_for_a_seed(tmp_path: Path) -> None:
    some = LABELS[3], LABELS[8]
    for name, workers in (("one", 1), ("two", 2)):
        generate_clips(tmp_path / name, seed=5, clips=3, labels=some, workers=workers)
    written = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.mp4"))
    assert [str(path) for path in written] == [f"{label}/00{n}.mp4" for label in sorted(some) for n in range(3)]
    contents = set()
    for path in written:
        one, two = (pictures(tmp_path / name / path) for name in ("one", "two"))
        assert one.shape == (FRAMES, SIDE, SIDE, 3)
        assert np.array_equal(one, two)
        contents.add(one.tobytes())
    assert len(contents) == len(written)


def pictures(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_no_clips_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\b0 per label\b"):
        generate_clips(tmp_path, seed=0, clips=0)
    assert not any(tmp_path.iterdir())
