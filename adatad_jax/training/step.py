"""One training step of any task: state in, state out, the same on one device and on N."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import optax

from adatad_jax.devices import AXIS, map_over_devices
from adatad_jax.models.layers import Params
from adatad_jax.training.parameters import merge
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
          normalizer: the loss normaliser before this step.
          key: of this step; the same on every device.

        Returns:
          The share, float32 scalar: the shares of all devices sum to the loss. Metrics of the global batch, the same
          on every device, `loss` among them; and the loss normaliser after this step.
        """
        ...


def make_train_step(loss: Loss, optimizer: optax.GradientTransformation, average_decay: float) -> Step:
    """Returns the step of one device of the axis `AXIS`; to be mapped (`map_step`).

    N devices that share a batch compute what one does, where the loss's random draws depend on the key and on a
    sample's index in the global batch alone. The metrics are those of the loss and `grad_norm`, the global L2 norm of
    the gradients before clipping.
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
        return state, {**metrics, "grad_norm": optax.tree.norm(gradients)}

    return step


def map_step(step: Step, devices: Sequence[jax.Device] | None = None) -> Step:
    """Maps a step over devices: the batch has a leading device axis, the state none and is donated."""
    return map_over_devices(step, devices, in_axes=(None, 0), out_axes=(None, 0), donate=(0,))
