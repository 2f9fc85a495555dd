"""The training loop: it takes steps, and calls hooks after steps and in pauses between steps."""

import collections
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from adatad_jax.data.loader import Loaded
from adatad_jax.devices.placing import first_value
from adatad_jax.training.state import TrainState
from adatad_jax.training.step import Metrics, Step


class Place(NamedTuple):
    """A place between two steps of a run.

    Attributes:
      step: number of steps taken.
      epoch: number of whole epochs done.
      within: number of steps taken in the current epoch; 0 at the end of an epoch.
    """

    step: int
    epoch: int
    within: int


class Done(NamedTuple):
    """A finished step.

    Attributes:
      step: number of the step, from 0.
      loaded: the batch, and what happened while it was loaded.
      metrics: name -> value.
      seconds: time since the step before.
    """

    step: int
    loaded: Loaded
    metrics: dict[str, float]
    seconds: float


class Hook:
    """Base of all hooks: acts after each step, and in pauses at places of its own choice. This base does nothing."""

    def after_step(self, done: Done) -> None:
        """Acts on a finished step; the next step may already have started."""

    def due(self, place: Place) -> bool:
        """Tells whether the run pauses at a place for this hook."""
        return False

    def pause(self, place: Place, state: TrainState, record: dict[str, Any]) -> None:
        """Acts while the run pauses.

        Args:
          place: where the run pauses.
          state: on the devices; the next step donates its buffers.
          record: of this place. A hook may add entries, which later hooks in the list can read.
        """


def run(
    step: Step, state: TrainState, batches: Iterable[Loaded], first: int, steps_per_epoch: int, hooks: Sequence[Hook]
) -> TrainState:
    """Takes one step per batch.

    A step's metrics are read after the next step has started, so that the devices never wait for the host. Before
    a hook pauses the run, the metrics of all steps so far are read.

    Args:
      step: mapped over the devices; it donates the state.
      state: on the devices.
      batches: on the devices.
      first: number of steps taken before.
      steps_per_epoch: of the run.
      hooks: in the order in which they are called.

    Returns:
      The state after the last step, on the devices.
    """
    running: collections.deque[tuple[int, Loaded, Metrics]] = collections.deque()
    clock = time.perf_counter()
    for number, loaded in enumerate(batches, first):
        state, metrics = step(state, loaded.batch)
        running.append((number, loaded, metrics))
        place = Place(number + 1, *divmod(number + 1, steps_per_epoch))
        due = [hook for hook in hooks if hook.due(place)]
        while len(running) > (0 if due else 1):
            done, its_load, its_metrics = running.popleft()
            values = {name: first_value(value) for name, value in its_metrics.items()}
            seconds, clock = time.perf_counter() - clock, time.perf_counter()
            for hook in hooks:
                hook.after_step(Done(done, its_load, values, seconds))
        record: dict[str, Any] = {}
        for hook in due:
            hook.pause(place, state, record)
        if due:
            clock = time.perf_counter()
    return state
