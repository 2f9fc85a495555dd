"""The training loop: steps, and the hooks that look at them and pause them."""

import collections
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from adatad_jax.data.loader import Loaded
from adatad_jax.training.state import TrainState
from adatad_jax.training.step import Metrics, Step


class Place(NamedTuple):
    """A place between two steps of a run.

    Attributes:
      step: steps taken.
      epoch: whole epochs done.
      within: steps taken of the epoch that is running; 0 at the end of an epoch.
    """

    step: int
    epoch: int
    within: int


class Done(NamedTuple):
    """A step that is done.

    Attributes:
      step: its number, from 0.
      loaded: its batch, and what happened when the batch was loaded.
      metrics: as floats.
      seconds: since the step before.
    """

    step: int
    loaded: Loaded
    metrics: dict[str, float]
    seconds: float


class Hook:
    """What happens beside the steps of a run, at a cadence of its own. This base does nothing."""

    def after_step(self, done: Done) -> None:
        """Looks at a step that is done; the next one may have started."""

    def due(self, place: Place) -> bool:
        """Tells whether the run pauses here for this hook."""
        return False

    def pause(self, place: Place, state: TrainState, record: dict[str, Any]) -> None:
        """Acts while the run pauses.

        Args:
          place: where.
          state: on the devices; the next step donates it.
          record: of this place; hooks that come later in the list find what earlier ones have put there.
        """


def run(
    step: Step, state: TrainState, batches: Iterable[Loaded], first: int, steps_per_epoch: int, hooks: Sequence[Hook]
) -> TrainState:
    """Takes a step for every batch and returns the last state, on the devices.

    A step's metrics are read after the next one has started, so that the devices never wait for the host. Where a hook
    pauses the run, all steps before it are read first.

    Args:
      step: mapped over devices; it donates the state.
      state: placed on the devices.
      batches: placed on the devices.
      first: number of steps taken before.
      steps_per_epoch: of the run.
      hooks: in the order in which they are called.
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
            values = {name: float(value[0]) for name, value in its_metrics.items()}
            seconds, clock = time.perf_counter() - clock, time.perf_counter()
            for hook in hooks:
                hook.after_step(Done(done, its_load, values, seconds))
        record: dict[str, Any] = {}
        for hook in due:
            hook.pause(place, state, record)
        if due:
            clock = time.perf_counter()
    return state
