"""One training step of any task, with the same result on one device and on several."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
import optax

from adatad_jax.devices.mapping import AXIS, map_over_devices
from adatad_jax.models.layers import Params
from adatad_jax.training.parameters import merge
from adatad_jax.training.state import TrainState

Metrics = dict[str, jax.Array]
Step = Callable[[TrainState, Any], tuple[TrainState, Metrics]]
T = TypeVar("T")


class Normalized(NamedTuple):
    """What a loss knows of a whole batch before any part of it has passed through the network.

    Attributes:
      divisor: of the batch's sums, float32 scalar.
      normalizer: the loss normaliser after this step, float32 scalar.
      metrics: of the global batch, without those of `Loss.of_rows`.
    """

    divisor: jax.Array
    normalizer: jax.Array
    metrics: Metrics


class Loss(Protocol):
    """The loss of a task: a sum over the samples of the global batch, divided by a number that is counted beforehand.

    It is computed in parts: by several devices, which have rows of the batch each, and on a device by rows that are
    computed one after the other. The parts are summed by the step.
    """

    def count(self, batch: Any) -> Any:
        """Counts what divides the loss, without the network.

        Args:
          batch: some rows of the global batch.

        Returns:
          A tree of float32 arrays. Those of all rows are summed.
        """
        ...

    def normalize(self, counted: Any, normalizer: jax.Array) -> Normalized:
        """Finds what divides the loss.

        Args:
          counted: sum of what `count` returned, over the global batch.
          normalizer: the loss normaliser before this step, float32 scalar. A task without one returns it as it is.
        """
        ...

    def of_rows(self, params: Params, batch: Any, divisor: jax.Array, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Computes what rows of the batch add to the loss.

        Args:
          params: the whole tree.
          batch: some rows of the global batch.
          divisor: from `normalize`.
          key: random key of this step, the same on every device and for all rows.

        Returns:
          The rows' share of the loss, float32 scalar, and their shares of metrics: the shares of all rows sum to the
          loss and the metrics of the global batch.
        """
        ...


def make_train_step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    average_decay: float,
    accumulate: int = 1,
    norms: Callable[[Params], Metrics] = lambda gradient: {},
) -> Step:
    """Makes the step of one device of the axis `AXIS`, which `map_step` maps over devices.

    Several devices that share a batch compute the same as one device, and so do parts of a batch that are computed one
    after the other, provided that the loss's random draws depend on the key and on a sample's index in the global batch
    alone.

    Args:
      loss: of the task.
      optimizer: of the trained parameters.
      average_decay: factor of the old average at each step, in [0, 1).
      accumulate: number of equal parts into which a device's rows are cut, which it computes one after the other.
      norms: of parts of the gradient: name -> float32 scalar.

    Returns:
      (state, batch) -> (next state, metrics). The metrics are those of the loss, the `loss` itself, `grad_norm`, the
      global L2 norm of the gradient before clipping, and `grad_norm_NAME` for each of `norms`.
    """

    def step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
        whole = loss.normalize(jax.lax.psum(loss.count(batch), AXIS), state.normalizer)

        def gradients(rows: Any) -> tuple[Params, Metrics]:
            def share(trained: Params) -> tuple[jax.Array, Metrics]:
                value, metrics = loss.of_rows(merge(trained, state.frozen), rows, whole.divisor, key)
                return value, {"loss": value, **metrics}

            found: tuple[Params, Metrics] = jax.grad(share, has_aux=True)(state.trained)
            return found

        gradient, metrics = jax.lax.psum(sum_over_parts(gradients, batch, accumulate), AXIS)
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.trained)
        trained = optax.apply_updates(state.trained, updates)
        average = jax.tree.map(lambda a, p: average_decay * a + (1 - average_decay) * p, state.average, trained)
        state = state._replace(
            step=state.step + 1,
            trained=trained,
            average=average,
            optimizer=optimizer_state,
            normalizer=whole.normalizer,
        )
        parts = {f"grad_norm_{name}": norm for name, norm in norms(gradient).items()}
        return state, {**metrics, **whole.metrics, "grad_norm": optax.tree.norm(gradient), **parts}

    return step


def sum_over_parts(function: Callable[[Any], T], batch: Any, parts: int) -> T:
    """Sums a function of rows over equal parts of a batch, of which it computes one after the other.

    Args:
      function: takes some rows, and returns a tree of arrays.
      batch: tree of arrays with as many rows; the number is a multiple of `parts`.
      parts: their number.
    """
    if parts == 1:
        return function(batch)
    cut = jax.tree.map(lambda array: array.reshape(parts, -1, *array.shape[1:]), batch)
    shapes = jax.eval_shape(function, jax.tree.map(lambda array: array[0], cut))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    total, _ = jax.lax.scan(lambda sums, rows: (jax.tree.map(jnp.add, sums, function(rows)), None), zeros, cut)
    result: T = total
    return result


def map_step(step: Step, devices: Sequence[jax.Device] | None = None) -> Step:
    """Maps a step over devices.

    Args:
      step: of one device.
      devices: None takes all local devices.

    Returns:
      The mapped step. Batch and metrics have a leading device axis; the state has none, and its buffers are donated.
    """
    return map_over_devices(step, devices, in_axes=(None, 0), out_axes=(None, 0), donate=(0,))
