"""One training step of any task, with the same result on one device and on several."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import optax

from adatad_jax.devices.mapping import AXIS, map_over_devices
from adatad_jax.models.layers import Params
from adatad_jax.training.parameters import group_norms, merge
from adatad_jax.training.state import TrainState

Metrics = dict[str, jax.Array]
Step = Callable[[TrainState, Any], tuple[TrainState, Metrics]]


class Loss(Protocol):
    """The loss of a task, on one device of the axis `AXIS`."""

    def __call__(
        self, params: Params, batch: Any, normalizer: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, tuple[Metrics, jax.Array]]:
        """Computes this device's share of the loss of the global batch.

        Args:
          params: the whole tree.
          batch: this device's share of the batch.
          normalizer: the loss normaliser before this step, float32 scalar.
          key: random key of this step, the same on every device.

        Returns:
          This device's share, float32 scalar: the shares of all devices sum to the loss. Then the metrics of the global
          batch, which are the same on every device and include `loss`; and the loss normaliser after this step.
        """
        ...


def make_train_step(loss: Loss, optimizer: optax.GradientTransformation, average_decay: float) -> Step:
    """Makes the step of one device of the axis `AXIS`, which `map_step` maps over devices.

    Several devices that share a batch compute the same as one device, provided that the loss's random draws depend on
    the key and on a sample's index in the global batch alone.

    Args:
      loss: of the task.
      optimizer: of the trained parameters.
      average_decay: factor of the old average at each step, in [0, 1).

    Returns:
      (state, batch) -> (next state, metrics). The metrics are those of the loss, and `grad_norm`, the global L2 norm of
      the gradient before clipping, and `grad_norm_GROUP`, that of each group of parameters.
    """

    def step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)

        def share(trained: Params) -> tuple[jax.Array, tuple[Metrics, jax.Array]]:
            return loss(merge(trained, state.frozen), batch, state.normalizer, key)

        gradients, (metrics, normalizer) = jax.grad(share, has_aux=True)(state.trained)
        gradients = jax.lax.psum(gradients, AXIS)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.trained)
        trained = optax.apply_updates(state.trained, updates)
        average = jax.tree.map(lambda a, p: average_decay * a + (1 - average_decay) * p, state.average, trained)
        state = state._replace(
            step=state.step + 1, trained=trained, average=average, optimizer=optimizer_state, normalizer=normalizer
        )
        norms = {f"grad_norm_{group}": norm for group, norm in group_norms(gradients).items()}
        return state, {**metrics, "grad_norm": optax.tree.norm(gradients), **norms}

    return step


def map_step(step: Step, devices: Sequence[jax.Device] | None = None) -> Step:
    """Maps a step over devices.

    Args:
      step: of one device.
      devices: None takes all local devices.

    Returns:
      The mapped step. Batch and metrics have a leading device axis; the state has none, and its buffers are donated.
    """
    return map_over_devices(step, devices, in_axes=(None, 0), out_axes=(None, 0), donate=(0,))
