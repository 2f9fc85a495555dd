"""Geometric transforms of a clip."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adatad_jax.video.transforms import centre_box, crop_resize, flip, random_resized_crop_box, resize_short_side


def columns(*values: int, height: int = 4) -> np.ndarray:
    """Returns one frame [1, height, W, 3] whose columns have these values."""
    return np.broadcast_to(np.array(values, np.uint8)[None, None, :, None], (1, height, len(values), 3)).copy()


@pytest.mark.parametrize(
    ("height", "width", "size", "expected"),
    [
        (180, 320, 182, (182, 324)),  # 320 * 182 / 180 = 323.56
        (240, 320, 160, (160, 213)),  # 213.33
        (256, 340, 160, (160, 213)),  # 212.5 rounds up
        (568, 320, 160, (284, 160)),
        (160, 160, 160, (160, 160)),
        (100, 50, 182, (364, 182)),
    ],
)
def test_short_side(height: int, width: int, size: int, expected: tuple[int, int]) -> None:
    resized = resize_short_side(np.zeros((2, height, width, 3), np.uint8), size)
    assert resized.shape == (2, *expected, 3)
    assert resized.dtype == np.uint8


def test_resize_has_half_pixel_centres_and_no_antialias() -> None:
    # 8 columns to 2: centres 1.5 and 5.5, so the means of columns 1, 2 and 5, 6; an antialiased resize would see the
    # other columns too
    frame = columns(255, 100, 50, 255, 255, 10, 30, 255, height=8)
    assert resize_short_side(frame, 2)[0, 0, :, 0].tolist() == [75, 20]


def test_upscaling_clamps_at_the_edge() -> None:
    # 2 columns to 4: centres -0.25 (clamped), 0.25, 0.75, 1.25
    assert resize_short_side(columns(0, 100, height=2), 4)[0, 0, :, 0].tolist() == [0, 25, 75, 100]


def test_each_frame_is_resized_by_itself() -> None:
    frames = np.concatenate([columns(0, 0), columns(200, 200)])
    assert crop_resize(frames, (0, 0, 4, 2), 3).mean(axis=(1, 2, 3)).tolist() == [0, 200]


def test_centre_crop_rounds_its_offset_down() -> None:
    frames = np.arange(5 * 8).reshape(1, 5, 8, 1).repeat(3, axis=3).astype(np.uint8)
    # offsets (5 - 2) // 2 = 1 and (8 - 2) // 2 = 3
    box = centre_box(*frames.shape[1:3], 2)
    assert crop_resize(frames, box, 2)[0, :, :, 0].tolist() == [[11, 12], [19, 20]]
    with pytest.raises(ValueError, match=r"\b5 x 8 pixels\b.*\b6\b"):
        centre_box(*frames.shape[1:3], 6)


def test_crop_resize_takes_the_box_as_top_left_height_width() -> None:
    frames = np.zeros((1, 6, 10, 3), np.uint8)
    frames[:, 1:3, 4:8] = 90
    assert (crop_resize(frames, (1, 4, 2, 4), 5) == 90).all()
    assert crop_resize(frames, (1, 4, 2, 4), 5).shape == (1, 5, 5, 3)
    assert (crop_resize(frames, (3, 4, 2, 4), 5) == 0).all()


def test_flip_mirrors_columns_only() -> None:
    frames = np.arange(2 * 3 * 4 * 3).reshape(2, 3, 4, 3).astype(np.uint8)
    assert flip(frames)[1, 2, 0].tolist() == frames[1, 2, 3].tolist()
    np.testing.assert_array_equal(flip(flip(frames)), frames)


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 2**32 - 1))
def test_random_box_lies_in_the_frame(height: int, width: int, seed: int) -> None:
    top, left, box_height, box_width = random_resized_crop_box(height, width, np.random.default_rng(seed))
    assert 0 <= top <= top + box_height <= height
    assert 0 <= left <= left + box_width <= width
    assert min(box_height, box_width) >= 1


def test_random_box_area_and_aspect() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([random_resized_crop_box(1000, 1400, rng) for _ in range(2000)])
    area, aspect = boxes[:, 2] * boxes[:, 3] / (1000 * 1400), boxes[:, 3] / boxes[:, 2]
    # the fallback, a square of 1000 / 1400 = 0.71 of the area, lies in both ranges too
    assert 0.079 < area.min() < 0.09
    assert area.max() <= 1
    assert 0.75 - 0.01 < aspect.min() < 0.76
    assert 1.32 < aspect.max() < 4 / 3 + 0.01
    # small boxes always fit, so there the law is unconditional: the logarithm of the aspect is uniform
    log_aspect = np.log(aspect[area < 0.4])
    assert abs(log_aspect.mean()) < 0.03
    assert abs(log_aspect.std() - math.log(16 / 9) / math.sqrt(12)) < 0.01
    # and the area is uniform: as many boxes below 0.24 as between there and 0.4
    assert abs((area < 0.24).sum() / (area < 0.4).sum() - 0.5) < 0.06


def test_random_box_offsets_reach_both_ends() -> None:
    rng = np.random.default_rng(1)
    boxes = [random_resized_crop_box(12, 12, rng) for _ in range(500)]
    rest = [(top, 12 - height - top, left, 12 - width - left) for top, left, height, width in boxes if height < 12]
    assert np.min(rest, axis=0).tolist() == [0, 0, 0, 0]


def test_box_that_never_fits_is_the_centred_square() -> None:
    # 10 x 1000: a box of at least 0.08 * 10000 pixels is at least sqrt(800 * 3 / 4) = 24 high
    rng = np.random.default_rng(0)
    assert random_resized_crop_box(10, 1000, rng) == (0, 495, 10, 10)
    assert random_resized_crop_box(1000, 11, rng) == (494, 0, 11, 11)
