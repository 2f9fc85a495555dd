"""The rates of pre-training by hand."""

import numpy as np
import pytest

from adatad_jax.errors import UserError
from adatad_jax.training.pretraining_schedule import scaled_rates


def test_rates_by_hand() -> None:
    """A batch of 512 doubles both rates: 3e-4 and 2e-5. Five steps of warm-up, eight of cosine."""
    rates = scaled_rates(1.5e-4, 1e-5, batch=512, warmup_steps=5, total_steps=13)
    assert len(rates) == 13
    np.testing.assert_allclose(rates[:5], [0, 0.75e-4, 1.5e-4, 2.25e-4, 3e-4])
    np.testing.assert_allclose(rates[5], 3e-4)
    np.testing.assert_allclose(rates[5 + 4], (3e-4 + 2e-5) / 2)
    np.testing.assert_allclose(rates[5 + 2], 2e-5 + 2.8e-4 * (2 + 2**0.5) / 4)
    assert rates[-1] > 2e-5


def test_a_run_that_stops_early_has_the_same_rates() -> None:
    whole = scaled_rates(1.5e-4, 1e-5, 256, 3, 20)
    np.testing.assert_array_equal(scaled_rates(1.5e-4, 1e-5, 256, 3, 20, steps=7), whole[:7])


@pytest.mark.parametrize(("warmup", "first"), [(0, 2.0), (1, 0.0)])
def test_short_warm_ups(warmup: int, first: float) -> None:
    rates = scaled_rates(2.0, 0.0, 256, warmup, 4)
    assert rates[0] == first
    assert rates[warmup] == 2


@pytest.mark.parametrize(("warmup", "total"), [(4, 4), (-1, 4), (0, 0)])
def test_a_warm_up_that_leaves_no_steps_is_refused(warmup: int, total: int) -> None:
    with pytest.raises(UserError, match=rf"{warmup}\b.*\b{total}\b"):
        scaled_rates(1.0, 0.0, 256, warmup, total)
