"""The detector's projection: pooling, and stochastic depth that is drawn for all blocks at once."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from adatad_jax.models.layers import keep_factors
from adatad_jax.models.projection import max_pool

pytestmark = pytest.mark.usefixtures("fully_compiled")


@pytest.mark.parametrize(("length", "stride"), [(1, 1), (1, 2), (8, 1), (8, 2), (9, 2), (9, 3)])
def test_pooling_and_its_gradient_are_those_of_torch_also_where_values_are_equal(length: int, stride: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 3, (20, length, 8)).astype(np.float32)  # few values, so that many are equal
    theirs = torch.from_numpy(x).requires_grad_()
    pooled = torch.nn.functional.max_pool1d(theirs.transpose(1, 2), 3, stride, 1).transpose(1, 2)
    weights = rng.integers(1, 9, pooled.shape).astype(np.float32)
    (pooled * torch.from_numpy(weights)).sum().backward()  # type: ignore[no-untyped-call]
    out, pull = jax.vjp(lambda x: max_pool(x, stride), jnp.asarray(x))
    np.testing.assert_array_equal(out, pooled.detach())
    assert theirs.grad is not None
    np.testing.assert_array_equal(pull(jnp.asarray(weights))[0], theirs.grad)


def test_pooling_equals_that_of_flax() -> None:
    x = jax.random.normal(jax.random.key(0), (2, 10, 3))
    np.testing.assert_array_equal(max_pool(x, 2), nn.max_pool(x, (3,), (2,), padding=((1, 1),)))


@pytest.mark.parametrize("rate", [0.1, 0.6])
def test_blocks_are_kept_independently_and_at_the_rate_that_is_wanted(rate: float) -> None:
    factors = np.asarray(keep_factors(rate, jax.random.key(3), jnp.arange(4000), (3, 2)))
    assert factors.shape == (4000, 3, 2)
    kept = factors > 0
    np.testing.assert_allclose(factors[kept], 1 / (1 - rate), rtol=1e-6)
    np.testing.assert_allclose(kept.mean(0), 1 - rate, atol=0.04)  # five standard deviations
    correlation = np.corrcoef(kept.reshape(4000, 6).T)
    assert np.abs(correlation - np.eye(6)).max() < 0.08
    np.testing.assert_array_equal(factors[7:9], keep_factors(rate, jax.random.key(3), jnp.asarray([7, 8]), (3, 2)))
