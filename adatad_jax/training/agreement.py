"""Agreement of several processes on the step after which they leave.

Every process sends its wish into the step with the batch, and all read the sum among the step's metrics. This costs
nothing, and they read the same sum at the same place of the loop.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adatad_jax.devices.mapping import AXIS
from adatad_jax.devices.placing import place
from adatad_jax.training.leaving import Leaving
from adatad_jax.training.loop import Done, Hook
from adatad_jax.training.state import TrainState
from adatad_jax.training.step import Metrics, Step

WISHES = "wishes_to_leave"


def with_wishes(step: Step) -> Step:
    """Makes a step of one device of the axis `AXIS` that takes a wish beside the batch, and sums it over all devices.

    Args:
      step: (state, batch) -> (next state, metrics).

    Returns:
      (state, (batch, wish)) -> (next state, metrics with the sum). A wish is float32 `[1]`.
    """

    def wishing(state: TrainState, batch: tuple[Any, jax.Array]) -> tuple[TrainState, Metrics]:
        state, metrics = step(state, batch[0])
        return state, {**metrics, WISHES: jax.lax.psum(jnp.sum(batch[1]), AXIS)}

    return wishing


def sending_wishes(step: Step, leaving: Leaving, devices: list[jax.Device]) -> Step:
    """Makes a mapped step send this process's wish to leave.

    Args:
      step: a step `with_wishes`, mapped over the devices.
      leaving: of this process. From now on it leaves by agreement alone.
      devices: that the step is mapped over.
    """
    own = sum(device.process_index == jax.process_index() for device in devices)
    stay, leave = (place(np.full(own, wish, np.float32), devices) for wish in (0, 1))
    leaving.agree(False)

    def sending(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        return step(state, (batch, stay if leaving.asked is None else leave))

    return sending


class Agree(Hook):
    """Hands the sum of all wishes over, and takes it out of the metrics; it must be the first hook."""

    def __init__(self, leaving: Leaving) -> None:
        self._leaving = leaving

    def after_step(self, done: Done) -> None:
        self._leaving.agree(done.metrics.pop(WISHES) > 0)
