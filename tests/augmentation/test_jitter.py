"""The steps of the colour jitter, compared with OpenCV and with arithmetic by hand."""

import cv2
import jax
import numpy as np
import pytest

from adatad_jax.augmentation import jitter


def cube() -> np.ndarray:
    """Returns frames [n, H, W, 3] with all combinations of the levels 0, 3, ..., 255."""
    levels = np.arange(0, 256, 3, dtype=np.uint8)
    return np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1)


def planes(frames: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(frames, -1, 1))


def test_rgb_to_hsv_equals_opencv() -> None:
    frames = cube()
    expected = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2HSV) for frame in frames])
    hsv = jax.jit(jitter.rgb_to_hsv)(planes(frames).astype(np.int32))
    for channel, ours in enumerate(hsv):
        np.testing.assert_array_equal(ours, expected[..., channel])


def test_hsv_to_rgb_is_opencvs() -> None:
    levels = np.arange(0, 256, 3, dtype=np.uint8)
    hsv = np.stack(np.meshgrid(np.arange(180, dtype=np.uint8), levels, levels, indexing="ij"), -1)
    expected = np.stack([cv2.cvtColor(frame, cv2.COLOR_HSV2RGB) for frame in hsv]).astype(int)
    ours = np.moveaxis(np.asarray(jax.jit(jitter.hsv_to_rgb)(*np.moveaxis(hsv.astype(np.int32), -1, 0))), 1, -1)
    # the last pixels of a row are OpenCV's scalar code, which rounds; the rest is truncated from float32
    vector = (ours - expected)[:, :, :64]
    assert np.abs(ours - expected).max() <= 1
    assert (vector != 0).mean() < 0.01


@pytest.mark.parametrize("shift", [-25, -1, 0, 13, 25])
def test_hue_is_opencvs(shift: int) -> None:
    frames = cube()
    hsv = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2HSV) for frame in frames]).astype(int)
    hsv[..., 0] = (hsv[..., 0] + shift) % 180
    expected = np.stack([cv2.cvtColor(frame, cv2.COLOR_HSV2RGB) for frame in hsv.astype(np.uint8)])
    ours = jax.jit(jitter.adjust_hue)(planes(frames).astype(np.float32), np.int32(shift))
    assert np.abs(np.asarray(ours) - planes(expected)).max() <= 1


def test_hue_by_hand() -> None:
    # red, turned by 25 of 180: green at 25 / 30 of 255; half-bright green back by 10: red at 10 / 30 of 128
    frames = np.float32([[[[255, 0, 0], [0, 128, 0], [90, 90, 90]]]])
    forward = jitter.adjust_hue(planes(frames), np.int32(25))
    assert np.asarray(forward)[0, :, 0, 0].tolist() == [255, 212, 0]
    backward = jitter.adjust_hue(planes(frames), np.int32(-10))
    assert np.asarray(backward)[0, :, 0, 1].tolist() == [42, 128, 0]
    assert np.asarray(backward)[0, :, 0, 2].tolist() == [90, 90, 90]


def test_hue_clips_and_truncates_first() -> None:
    wild = np.float32([[[[300, -20, 10.9]]]])
    tame = np.float32([[[[255, 0, 10]]]])
    np.testing.assert_array_equal(
        jitter.adjust_hue(planes(wild), np.int32(7)), jitter.adjust_hue(planes(tame), np.int32(7))
    )


def test_other_steps_by_hand() -> None:
    # two frames of two pixels: grey of (100, 200, 50) is 29.89 + 117.4 + 5.7 = 152.99; of (0, 0, 0) 0; mean 76.495
    frames = np.float32([[[[100, 200, 50], [0, 0, 0]]], [[[10, 10, 10], [10, 10, 10]]]])
    pixels = planes(frames)
    bright = np.moveaxis(np.asarray(jitter.adjust_brightness(pixels, np.float32(1.5))), 1, -1)
    np.testing.assert_allclose(bright[0, 0, 0], [150, 300, 75])
    contrast = np.moveaxis(np.asarray(jitter.adjust_contrast(pixels, np.float32(1.5))), 1, -1)
    np.testing.assert_allclose(contrast[0, 0, 0], [150 - 38.2475, 300 - 38.2475, 75 - 38.2475], rtol=1e-5)
    np.testing.assert_allclose(contrast[0, 0, 1], [-38.2475] * 3, rtol=1e-5)
    # the weights sum to 0.9999
    np.testing.assert_allclose(contrast[1, 0, 0], [15 - 0.5 * 9.999] * 3, rtol=1e-5)
    saturated = np.moveaxis(np.asarray(jitter.adjust_saturation(pixels, np.float32(0.5))), 1, -1)
    np.testing.assert_allclose(saturated[0, 0, 0], [126.495, 176.495, 101.495], rtol=1e-5)
    np.testing.assert_allclose(saturated[0, 0, 1], [0, 0, 0])
