"""The average of the parameters, in programs with the roundings that users have."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adatad_jax.config.build import make_model
from adatad_jax.devices.placing import replicate, shard
from adatad_jax.models.layers import Params
from adatad_jax.training.optimizer import make_optimizer
from adatad_jax.training.parameters import split
from adatad_jax.training.state import create_state
from adatad_jax.training.step import Metrics, Normalized, make_train_step, map_step
from adatad_jax.weights.initialize import parameter_shapes
from tests import records
from tests.tiny_detector import tiny_config

pytestmark = pytest.mark.usefixtures("fully_compiled")

EMA = 0.9


class Distance:
    """The squared distance of all parameters from the mean of the batch's rows."""

    def count(self, batch: Any) -> jax.Array:
        return jnp.float32(len(batch["x"]))

    def normalize(self, count: jax.Array, normalizer: jax.Array) -> Normalized:
        return Normalized(count, normalizer, {})

    def of_rows(self, params: Params, batch: Any, divisor: jax.Array, key: jax.Array) -> tuple[jax.Array, Metrics]:
        mean = batch["x"].sum() / divisor
        return sum(jnp.sum((leaf - mean) ** 2) for leaf in jax.tree.leaves(params)), {}


def test_it_is_of_all_that_is_trained() -> None:
    """Compares the average after two steps with 0.9 * (0.9 p0 + 0.1 p1) + 0.1 p2 in float64."""
    config, rng = tiny_config(), np.random.default_rng(0)
    shapes = parameter_shapes(make_model(config, 3), config)
    drawn = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)
    (before, frozen), optimizer = split(drawn), make_optimizer(records.optimizer_config())
    step = map_step(make_train_step(Distance(), optimizer, EMA), jax.devices()[:1])
    state = replicate(create_state(before, frozen, optimizer, 1.0, seed=3), jax.devices()[:1])
    trained = [before]
    for _ in range(2):
        state, _ = step(state, shard({"x": rng.normal(size=4).astype(np.float32)}, 1))
        trained.append(jax.device_get(state.trained))

    def expected(p0: np.ndarray, p1: np.ndarray, p2: np.ndarray) -> np.ndarray:
        p0, p1, p2 = (np.asarray(p, np.float64) for p in (p0, p1, p2))
        return EMA * (EMA * p0 + (1 - EMA) * p1) + (1 - EMA) * p2

    moved = jax.tree.map(lambda one, other: bool((one != other).any()), trained[1], trained[2])
    assert all(jax.tree.leaves(moved))
    wanted = jax.tree.map(expected, *trained)
    # Two float32 roundings, relative to the value; near zero, to the terms.
    after = jax.device_get(state)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1.2e-7, atol=3e-8), after.average, wanted)
    jax.tree.map(np.testing.assert_array_equal, split(after.averaged())[1], frozen)
