"""Targets and loss of masked pre-training by hand, and pictures; tests/models compares them with torch's."""

import jax.numpy as jnp
import numpy as np

from adatad_jax.pretraining.objective import reconstruct, squared_error, targets


def clips() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 16, 4, 4, 3), dtype=np.uint8)


MASKED = np.array([[0, 5, 31], [2, 3, 4]])  # of 8 * 2 * 2 tokens


def test_targets_are_ordered_by_frame_row_column_channel_and_normalised_per_channel() -> None:
    frames = clips()
    found = np.asarray(targets(frames, MASKED, 2)).reshape(2, 3, 2, 2, 2, 3)
    # token 31 of the first clip: tubelet 7 (frames 14 and 15), row 1, column 1
    tubelet = frames[0, 14:16, 2:4, 2:4].astype(float) / 255
    for channel in range(3):
        values = tubelet[..., channel]
        expected = (values - values.mean()) / (values.std(ddof=1) + 1e-6)
        np.testing.assert_allclose(found[0, 2, ..., channel], expected, rtol=1e-5, atol=1e-5)
    # token 4 of the second: tubelet 1, row 0, column 0
    red = frames[1, 2:4, :2, :2, 0].astype(float) / 255
    np.testing.assert_allclose(found[1, 2, ..., 0], (red - red.mean()) / (red.std(ddof=1) + 1e-6), rtol=1e-5, atol=1e-5)


def test_a_tubelet_of_one_colour_has_targets_of_zero() -> None:
    """Whole levels have an exact mean: rounding it would be divided by an epsilon of 1e-6."""
    for level in range(256):
        frames = np.full((1, 16, 2, 2, 3), level, np.uint8)
        assert not np.any(targets(frames, np.array([[3]]), 2))


def test_the_loss_is_the_mean_over_all_masked_values() -> None:
    predictions = jnp.array([[[0.0, 2.0], [1.0, 1.0]], [[3.0, 3.0], [3.0, 3.0]]])
    errors = squared_error(predictions, jnp.ones((2, 2, 2)))
    np.testing.assert_allclose(errors, [(1 + 1 + 0 + 0) / 4, 4])
    np.testing.assert_allclose(errors.mean(), np.square(predictions - 1).mean())


def test_reconstruction_from_the_targets_is_the_clip() -> None:
    frames = clips()
    exact = targets(frames, MASKED, 2)
    np.testing.assert_array_equal(reconstruct(frames, exact, MASKED, 2), frames)
    # A prediction of zeros is the mean colour; what is visible stays as it is.
    flat = np.asarray(reconstruct(frames, jnp.zeros_like(exact), MASKED, 2))
    tubelet = frames[0, 14:16, 2:4, 2:4]
    np.testing.assert_allclose(flat[0, 14:16, 2:4, 2:4] - tubelet.mean((0, 1, 2)), 0, atol=0.51)
    changed = (flat != frames).any(-1).reshape(2, 8, 2, 2, 2, 2, 2).any((2, 4, 6)).reshape(2, 32)
    assert [list(np.flatnonzero(row)) for row in changed] == MASKED.tolist()
