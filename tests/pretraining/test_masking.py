"""Tube masks: counts, one place for all times, draws by key and clip."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adatad_jax.errors import UserError
from adatad_jax.pretraining.masking import draw_tube_masks, masked_positions


def test_published_ratios() -> None:
    assert masked_positions(0.9, 14 * 14) == 176
    assert masked_positions(0.75, 14 * 14) == 147


@pytest.mark.parametrize(
    ("ratio", "positions", "what"), [(0.9, 1, "masked"), (0.05, 9, "masked"), (0.0, 9, "masked"), (1.0, 9, "visible")]
)
def test_a_ratio_that_leaves_nothing_is_refused(ratio: float, positions: int, what: str) -> None:
    with pytest.raises(UserError, match=rf"^mask ratio {ratio:g} of {positions} patches .*\bnothing {what}\b"):
        masked_positions(ratio, positions)


def test_every_tubelet_hides_the_same_places_and_no_token_is_lost() -> None:
    masks = draw_tube_masks(jax.random.key(0), jnp.arange(3), 9, 6)
    assert (masks.visible.shape, masks.masked.shape) == ((3, 8 * 3), (3, 8 * 6))
    for visible, masked in zip(*map(np.asarray, masks), strict=True):
        assert (np.diff(visible) > 0).all()
        assert (np.diff(masked) > 0).all()
        assert sorted([*visible, *masked]) == list(range(8 * 9))
        places = (masked % 9).reshape(8, 6)
        assert (places == places[0]).all()


def test_draws_depend_on_the_key_and_the_clip_alone() -> None:
    def masked(seed: int, ids: list[int]) -> np.ndarray:
        return np.asarray(draw_tube_masks(jax.random.key(seed), jnp.array(ids), 100, 50).masked)

    whole = masked(0, [0, 1, 2, 3])
    np.testing.assert_array_equal(np.concatenate([masked(0, [0, 1]), masked(0, [2, 3])]), whole)
    assert len({row.tobytes() for row in [*whole, *masked(1, [0, 1, 2, 3])]}) == 8


def test_all_places_are_masked_equally_often() -> None:
    masked = draw_tube_masks(jax.random.key(0), jnp.arange(4000), 16, 12).masked[:, :12]
    counts = np.bincount(np.asarray(masked).ravel(), minlength=16)
    # 4000 draws, each hides a place with probability 3/4: 3000, with a standard deviation of 27
    assert np.abs(counts - 3000).max() < 5 * 27
