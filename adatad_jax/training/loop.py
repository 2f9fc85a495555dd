"""The training loop: it takes steps, and calls hooks after steps and in pauses between steps."""

import collections
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from adatad_jax.data.loader import Loaded
from adatad_jax.devices.links import End
from adatad_jax.devices.placing import first_value
from adatad_jax.devices.processes import ALONE, Processes
from adatad_jax.errors import Exit, Left, UserError
from adatad_jax.training.leaving import Leaving
from adatad_jax.training.state import TrainState
from adatad_jax.training.step import Metrics, Step

PATIENCE = 60.0  # seconds that a process which cannot go on waits for the others, to save together

_logger = logging.getLogger(__name__)


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
      waited: how many of these seconds the loop waited for a batch.
    """

    step: int
    loaded: Loaded
    metrics: dict[str, float]
    seconds: float
    waited: float = 0.0


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

    def leave(self, place: Place, state: TrainState) -> None:
        """Acts when the run is left before its end, after all pauses of that place.

        Args:
          place: where the run is left, with at least one step taken.
          state: on the devices.
        """


class _Steps:
    """Steps that have started, whose metrics are read later."""

    def __init__(self, hooks: Sequence[Hook]) -> None:
        self._hooks = hooks
        self._running: collections.deque[tuple[int, Loaded, Metrics]] = collections.deque()
        self._clock, self._waited = time.perf_counter(), 0.0

    def next_batch(self, batches: Iterator[Loaded]) -> Loaded | None:
        """Waits for the next batch; returns None after the last one."""
        clock = time.perf_counter()
        loaded = next(batches, None)
        self._waited += time.perf_counter() - clock
        return loaded

    def add(self, number: int, loaded: Loaded, metrics: Metrics) -> None:
        """Adds a step that has started."""
        self._running.append((number, loaded, metrics))

    def finish(self, all_but: int = 0) -> None:
        """Waits for all steps but the last `all_but`, and shows them to the hooks."""
        while len(self._running) > all_but:
            number, loaded, metrics = self._running.popleft()
            values = {name: first_value(value) for name, value in metrics.items()}
            seconds, waited = time.perf_counter() - self._clock, self._waited
            self.restart_clock()
            for hook in self._hooks:
                hook.after_step(Done(number, loaded, values, seconds, waited))

    def leave(self, place: Place, state: TrainState, why: BaseException) -> None:
        """Waits for all steps, and lets the hooks save what they have led to."""
        self.finish()
        for hook in self._hooks:
            hook.leave(place, state)
        if not isinstance(why, Left):
            _logger.info("the state after step %d is saved; the same command continues there", place.step)

    def restart_clock(self) -> None:
        """Leaves the time so far to no step."""
        self._clock, self._waited = time.perf_counter(), 0.0


def run(
    step: Step,
    state: TrainState,
    batches: Iterable[Loaded],
    first: int,
    steps_per_epoch: int,
    hooks: Sequence[Hook],
    leaving: Leaving | None = None,
    processes: Processes = ALONE,
    shift: int = 0,
    compiled: Callable[[TrainState], None] = lambda state: None,
) -> TrainState:
    """Takes one step per batch.

    A step's metrics are read after the next step has started, so that the devices never wait for the host. Before
    a hook pauses the run, and before the run is left, those of all steps so far are read: what is saved then has seen
    no step that a hook objects to.

    Args:
      step: mapped over the devices; it donates the state.
      state: on the devices.
      batches: on the devices.
      first: number of steps taken before.
      steps_per_epoch: of the run.
      hooks: in the order in which they are called.
      leaving: tells when to leave; None: never.
      processes: that take the steps together.
      shift: epoch e begins at step `e * steps_per_epoch - shift` (`OptimizerConfig`).
      compiled: compiles the step, while the first batch is loaded.

    Returns:
      The state after the last step, on the devices.

    Raises:
      Left: the run was asked to leave; its hooks have saved.
      UserError: a hook objects to a step; or a batch of any process cannot be loaded, and the hooks have saved.
    """
    leaving, steps, supply = leaving or Leaving(), _Steps(hooks), iter(batches)
    place = Place(first, *divmod(first + shift, steps_per_epoch))
    compiled(state)
    while True:
        loaded, end = _agreed(processes, *_next_batch(steps, supply, leaving, place.step), place.step == first)
        if end is not None:
            if place.step > first:
                steps.leave(place, state, end)
                processes.post("saved", True)()  # by process 0, which must not be ended before
            raise end
        if loaded is None:
            return state
        state, metrics = step(state, loaded.batch)
        leaving.start()
        steps.add(place.step, loaded, metrics)
        place = Place(place.step + 1, *divmod(place.step + 1 + shift, steps_per_epoch))
        due = [hook for hook in hooks if hook.due(place)]
        steps.finish(all_but=0 if due else 1)
        record: dict[str, Any] = {}
        for hook in due:
            hook.pause(place, state, record)
        if due:
            steps.restart_clock()


def _next_batch(
    steps: _Steps, supply: Iterator[Loaded], leaving: Leaving, step: int
) -> tuple[Loaded | None, BaseException | None]:
    """Waits for the next batch, which is None after the last one; or returns why there is no other step."""
    try:
        with leaving.after_step(step):
            return steps.next_batch(supply), None
    except (Left, UserError, MemoryError) as end:
        return None, end


def _agreed(
    processes: Processes, loaded: Loaded | None, end: BaseException | None, is_first: bool
) -> tuple[Loaded | None, BaseException | None]:
    """Returns a batch with what happened in all processes while it was loaded, or why all of them end before its step.

    The devices compute the step before meanwhile. Of processes that share a sample, each may say that it could not be
    read; it counts once. A process that is asked to leave before its first step waits for nobody.

    Raises:
      UserError, Left: another process has failed or is gone, or is asked to leave before its first step; or this one
        ends, and the others are not heard of.
    """
    if processes.count == 1 or (is_first and isinstance(end, Left)):
        return loaded, end
    left = end if isinstance(end, Left) else None
    failed = None if left else end
    code = failed.exit_code if isinstance(failed, UserError) else Exit.USER_ERROR
    own = {
        "loaded": None if loaded is None else loaded._replace(batch=None)._asdict(),  # type: ignore[arg-type]
        "left": str(left) if left else None,
        "failed": None if failed is None else [str(failed) or "out of memory", code],
    }
    posted = processes.post("a step", own)
    if failed is not None:
        _logger.warning("%s (the other processes are awaited, to save together)", failed)
    try:
        told = posted(None if end is None else PATIENCE)
    except TimeoutError:  # another one hangs
        raise end from None  # type: ignore[misc]
    if failed is not None:
        return None, failed
    for index, one in enumerate(told):
        if one["failed"]:
            message, code = one["failed"]
            return None, End(index, message, Exit(code)).error()
    if where := [one["left"] for one in told if one["left"]]:
        return None, left or Left(where[0])
    if loaded is None:
        return None, None
    found = [one["loaded"] for one in told]
    return loaded._replace(
        unmatched=sum(one["unmatched"] for one in found),
        skipped=tuple({row: (row, text) for one in found for row, text in one["skipped"]}.values()),
        videos=tuple(dict.fromkeys(name for one in found for name in one["videos"])),
        repeated=sum(one["repeated"] for one in found),
    ), None
