"""Steps that are left out: what they change, and what they do not."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from adatad_jax.training.forgiving import forgiving
from adatad_jax.training.optimizer import make_optimizer
from adatad_jax.training.schedule import warmup_cosine
from adatad_jax.training.state import TrainState, create_state
from tests import records

CONFIG = records.optimizer_config(weight_decay=0.0)
OPTIMIZER = make_optimizer(CONFIG)


@jax.jit
@forgiving
def step(state: TrainState, batch: Any) -> tuple[TrainState, Any]:
    """One parameter, whose gradient is the batch."""
    gradients = {"detector": {"head": {"scale": batch}}}
    updates, optimizer = OPTIMIZER.update(gradients, state.optimizer, state.trained)
    trained = optax.apply_updates(state.trained, updates)
    average = jax.tree.map(lambda a, p: 0.5 * a + 0.5 * p, state.average, trained)
    after = state._replace(
        step=state.step + 1, trained=trained, average=average, optimizer=optimizer, normalizer=state.normalizer + batch
    )
    return after, {"loss": batch, "grad_norm": jnp.abs(batch)}


def start() -> TrainState:
    return create_state({"detector": {"head": {"scale": jnp.float32(1)}}}, {}, OPTIMIZER, 100.0, seed=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_step_that_is_not_finite_changes_its_number_alone(bad: float) -> None:
    before, _ = step(start(), jnp.float32(0.5))
    after, metrics = step(before, jnp.float32(bad))
    assert not np.isfinite(metrics["loss"])
    assert (int(before.step), int(after.step)) == (1, 2)
    for part in ("trained", "average", "normalizer", "key"):
        jax.tree.map(np.testing.assert_array_equal, getattr(after, part), getattr(before, part))


def test_the_learning_rate_and_adam_go_on_as_they_must() -> None:
    """The gradient is 0.5 each time, so Adam's direction is 1 if its corrections count the steps that it has seen.

    The rate is that of the step's number: 0, then 1e-2 at the end of warm-up, then along the cosine.
    """
    state, rates = start(), warmup_cosine(1e-2, 2, 20, 4)
    for gradient in (0.5, np.nan, 0.5, 0.5):
        state, _ = step(state, jnp.float32(gradient))
    expected = 1 - rates[0] - rates[2] - rates[3]
    np.testing.assert_allclose(state.trained["detector"]["head"]["scale"], expected, rtol=1e-6)
