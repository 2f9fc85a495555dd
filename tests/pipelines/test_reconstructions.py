"""Which pixels a mask hides."""

import numpy as np

from adatad_jax.pipelines.reconstructions import hidden_pixels


def test_pixels_of_masked_tokens_by_hand() -> None:
    """Frames of 2x2 patches of 3 pixels; token 1 is frames 0 and 1, top right; token 6 frames 2 and 3, bottom left."""
    hidden = hidden_pixels(np.array([[1, 6]]), (1, 4, 6, 6), patch=3)
    expected = np.zeros((1, 4, 6, 6), bool)
    expected[0, :2, :3, 3:] = True
    expected[0, 2:, 3:, :3] = True
    np.testing.assert_array_equal(hidden, expected)
