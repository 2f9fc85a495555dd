"""Steps that are left out where their loss or gradient is not finite."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from adatad_jax.training.state import TrainState
from adatad_jax.training.step import Metrics, Step


def forgiving(step: Step) -> Step:
    """Makes a step that changes nothing where its loss or gradient norm is not finite.

    Only the number of the step, and with it the learning rate, goes on. The metrics are those of the step as it was.

    Args:
      step: of one device; loss and gradient norm are the same on every device.
    """

    def guarded(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        after, metrics = step(state, batch)
        is_finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["grad_norm"])

        def chosen(new: Any, old: Any) -> Any:
            return new if _is_schedule(new) else jnp.where(is_finite, new, old)

        def kept(new: Any, old: Any) -> Any:
            return jax.tree.map(chosen, new, old, is_leaf=_is_schedule)

        return after._replace(
            trained=kept(after.trained, state.trained),
            average=kept(after.average, state.average),
            optimizer=kept(after.optimizer, state.optimizer),
            normalizer=kept(after.normalizer, state.normalizer),
        ), metrics

    return guarded


def _is_schedule(node: Any) -> bool:
    return isinstance(node, optax.ScaleByScheduleState)
