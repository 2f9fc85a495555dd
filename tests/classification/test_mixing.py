"""Mixup and CutMix: what is drawn, and pixels and targets in one proportion."""

import jax
import jax.numpy as jnp
import numpy as np

from adatad_jax.classification.mixing import Mix, draw_mix, mix_clips, mix_targets

HEIGHT, WIDTH = 20, 40


def draws(count: int, **options: float) -> Mix:
    keys = jax.random.split(jax.random.key(0), count)
    result: Mix = jax.jit(jax.vmap(lambda key: draw_mix(key, HEIGHT, WIDTH, **options)))(keys)
    return result


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


def test_shares_of_targets_are_those_of_pixels() -> None:
    found = draws(200)
    black, white = np.zeros((1, 2, HEIGHT, WIDTH, 3), np.uint8), np.full((1, 2, HEIGHT, WIDTH, 3), 255, np.uint8)
    mixed = jax.jit(jax.vmap(lambda mix: mix_clips(white, black, mix).mean() / 255))(found)
    np.testing.assert_allclose(mixed, found.own, atol=1e-5)
    assert 60 < int(found.cut.sum()) < 140  # 100, with a standard deviation of 7


def test_draws_have_their_distributions() -> None:
    mixup = draws(4000, cut_probability=0.0)
    assert not mixup.cut.any()
    # Beta(0.8, 0.8) has a mean of 1/2 and a variance of 1 / (4 * 2.6)
    assert abs(float(mixup.own.mean()) - 0.5) < 0.03
    np.testing.assert_allclose(mixup.own.var(), 1 / 10.4, rtol=0.1)

    cutmix = draws(4000, cut_probability=1.0)
    assert cutmix.cut.all()
    top, left, bottom, right = np.asarray(cutmix.box).T
    assert ((top >= 0) & (top <= bottom) & (bottom <= HEIGHT) & (left >= 0) & (left <= right) & (right <= WIDTH)).all()
    inner = (top > 0) & (bottom < HEIGHT) & (left > 0) & (right < WIDTH)
    # Both sides are the same share of the frame's, up to two pixels of rounding.
    assert np.abs((bottom - top) * 2 - (right - left))[inner].max() <= 4
    areas = (bottom - top) * (right - left) / (HEIGHT * WIDTH)
    np.testing.assert_allclose(cutmix.own, 1 - areas, atol=1e-6)
    assert areas.max() > 0.9
