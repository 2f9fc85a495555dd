"""Mixup and CutMix: what is drawn, and pixels and targets in one proportion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adatad_jax.classification.mixing import Mix, draw_mix, mix_clips, mix_targets

HEIGHT, WIDTH = 200, 400


@pytest.fixture(scope="module")
def draws() -> Mix:
    """4000 draws of even chances, then 100 without CutMix."""
    keys = jax.random.split(jax.random.key(0), 4100)
    cut_probability = np.repeat([0.5, 0.0], [4000, 100])
    result: Mix = jax.jit(jax.vmap(lambda key, cut: draw_mix(key, HEIGHT, WIDTH, cut)))(keys, cut_probability)
    return jax.tree.map(np.asarray, result)


def test_mixup_averages_pixels_and_targets() -> None:
    mix = Mix(jnp.float32(0.75), jnp.array(False), jnp.array([0, 0, 2, 2]))
    frames = np.full((1, 16, 2, 2, 3), 200, np.uint8)
    np.testing.assert_array_equal(mix_clips(frames, frames * 0 + 100, mix), np.full(frames.shape, 175.0))
    np.testing.assert_array_equal(mix_targets(jnp.array([[1.0, 0]]), jnp.array([[0, 1.0]]), mix), [[0.75, 0.25]])


def test_cutmix_fills_a_box_of_every_frame() -> None:
    mix = Mix(jnp.float32(1 - 6 / 16), jnp.array(True), jnp.array([1, 0, 3, 3]))
    frames, partners = np.full((2, 16, 4, 4, 3), 10, np.uint8), np.full((2, 16, 4, 4, 3), 90, np.uint8)
    mixed = np.asarray(mix_clips(frames, partners, mix))
    expected = np.full((4, 4), 10.0)
    expected[1:3, :3] = 90
    np.testing.assert_array_equal(mixed, np.broadcast_to(expected[..., None], mixed.shape))


def test_shares_of_targets_are_those_of_pixels(draws: Mix) -> None:
    black, white = np.zeros((1, 1, HEIGHT, WIDTH, 1), np.uint8), np.full((1, 1, HEIGHT, WIDTH, 1), 255, np.uint8)
    some = jax.tree.map(lambda leaf: leaf[:20], draws)
    assert 0 < some.cut.sum() < 20
    mixed = jax.vmap(lambda mix: mix_clips(white, black, mix).mean() / 255)(some)
    np.testing.assert_allclose(mixed, some.own, atol=1e-4)


def test_draws_have_their_distributions(draws: Mix) -> None:
    assert abs(draws.cut[:4000].mean() - 0.5) < 5 * 0.008  # standard deviation 0.5 / sqrt(4000)
    assert not draws.cut[4000:].any()
    mixup = draws.own[~draws.cut]
    # Beta(0.8, 0.8) has a mean of 1/2 and a variance of 1 / (4 * 2.6)
    assert abs(mixup.mean() - 0.5) < 0.04
    np.testing.assert_allclose(mixup.var(), 1 / 10.4, rtol=0.1)

    top, left, bottom, right = draws.box[draws.cut].T
    assert ((top >= 0) & (top <= bottom) & (bottom <= HEIGHT) & (left >= 0) & (left <= right) & (right <= WIDTH)).all()
    inner = (top > 0) & (bottom < HEIGHT) & (left > 0) & (right < WIDTH)
    # Both sides are the same share of the frame's, up to two pixels of rounding.
    assert np.abs((bottom - top) * 2 - (right - left))[inner].max() <= 4
    areas = (bottom - top) * (right - left) / (HEIGHT * WIDTH)
    np.testing.assert_allclose(draws.own[draws.cut], 1 - areas, atol=1e-6)
    # A side s has a mean of s - s^2/4 inside the frame, and s^2 is uniform: the mean area is 1/2 - 1/5 + 1/48.
    assert abs(areas.mean() - 0.3208) < 0.02
