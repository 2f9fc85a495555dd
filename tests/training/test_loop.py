"""The training loop with a step that counts, and when its hooks act, worked out by hand."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from adatad_jax.config.fields import TrainConfig
from adatad_jax.data.loader import Loaded
from adatad_jax.errors import UserError
from adatad_jax.training.checkpoints import Snapshot
from adatad_jax.training.epochs import CountEpoch
from adatad_jax.training.evaluating import Evaluate, is_evaluated
from adatad_jax.training.guards import StopIfNotFinite
from adatad_jax.training.history import Tally
from adatad_jax.training.leaving import Leaving
from adatad_jax.training.loop import Done, Hook, Place, run
from adatad_jax.training.optimizer import group_rates
from adatad_jax.training.saving import SaveCheckpoint
from tests import records
from tests.training.states import STATE


def loads(count: int, skipped: tuple[tuple[int, str], ...] = ()) -> Iterator[Loaded]:
    for _ in range(count):
        yield Loaded(None, 0, skipped)  # type: ignore[arg-type]


def count_step(state: Any, batch: Any) -> tuple[Any, dict[str, np.ndarray]]:
    return state + 1, {"loss": np.array([float(state)]), "grad_norm": np.array([1.0])}


class Noted(Hook):
    """A hook that records its calls."""

    def __init__(self, every: int) -> None:
        self.every, self.log = every, list[str]()

    def after_step(self, done: Done) -> None:
        self.log.append(f"{done.step}:{done.metrics['loss']:g}")

    def due(self, place: Place) -> bool:
        return place.step % self.every == 0

    def pause(self, place: Place, state: Any, record: dict[str, Any]) -> None:
        self.log.append(f"pause {place.step} {place.epoch}+{place.within} {state} {sorted(record)}")
        record["seen"] = True


def test_steps_are_looked_at_one_behind_and_all_before_a_pause() -> None:
    first, second = Noted(2), Noted(4)
    assert run(count_step, 3, loads(5), 3, 3, [first, second]) == 8  # type: ignore[arg-type,comparison-overlap]
    assert first.log == ["3:3", "pause 4 1+1 4 []", "4:4", "5:5", "pause 6 2+0 6 []", "6:6", "7:7", "pause 8 2+2 8 []"]
    assert second.log == [
        "3:3",
        "pause 4 1+1 4 ['seen']",
        "4:4",
        "5:5",
        "6:6",
        "7:7",
        "pause 8 2+2 8 ['seen']",
    ]


def step_of(number: int, norm: float) -> Done:
    loaded = Loaded(None, 0, (), videos=("a.mp4", "b.mp4"))  # type: ignore[arg-type]
    return Done(number, loaded, {"loss": 1.5, "grad_norm": norm}, 0.1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_names_its_step_videos_and_rates(value: float) -> None:
    """At the 18th of 50 steps of warm-up, the rates are 17/49 of the highest."""
    config = records.optimizer_config(tia_rate=4.9, head_rate=0.49, warmup_steps=50, schedule_steps=100, steps=90)
    with pytest.raises(UserError, match=rf"\bstep 18\b.*\b1\.5\b.*\b{value}\b") as error:
        StopIfNotFinite(group_rates(config), ("--config.train.head_rate",), 0, Console(quiet=True)).after_step(
            step_of(17, value)
        )
    for fact in ("\n  a.mp4\n  b.mp4", "tia 1.7", "head 0.17", "resume_with_changes", "skip_bad_steps"):
        assert fact in str(error.value)


def test_so_many_bad_steps_in_a_row_are_skipped_and_one_more_ends_the_run() -> None:
    guard = StopIfNotFinite(group_rates(records.optimizer_config()), (), 2, Console(quiet=True))
    for number, norm in enumerate([np.nan, np.inf, 1.0, np.nan, np.nan]):
        guard.after_step(step_of(number, norm))
    with pytest.raises(UserError, match=r"\bstep 6\b"):
        guard.after_step(step_of(5, np.nan))


def test_checkpoints_come_every_so_many_epochs_and_steps_and_at_the_end() -> None:
    train = TrainConfig(epochs=5, checkpoint_every=2, checkpoint_steps=3)
    hook = SaveCheckpoint(None, None, train, Tally(), {})  # type: ignore[arg-type]
    places = [Place(step, *divmod(step, 8)) for step in range(1, 41)]
    assert [place.step for place in places if hook.due(place)] == [3, 6, 11, 14, 16, 19, 22, 27, 30, 32, 35, 38, 40]


def test_every_evaluated_epoch_has_a_checkpoint() -> None:
    train = TrainConfig(epochs=9, checkpoint_every=4, eval_from=3, eval_every=3)
    hook = SaveCheckpoint(None, None, train, Tally(), {})  # type: ignore[arg-type]
    assert [epoch for epoch in range(1, 10) if hook.due(Place(8 * epoch, epoch, 0))] == [3, 4, 6, 8, 9]


class Unwritten:
    """A writer that notes the steps of what it is given."""

    def __init__(self) -> None:
        self.steps = list[int]()

    def write(self, taken: Snapshot) -> None:
        self.steps.append(taken.step)


@pytest.mark.parametrize(("minutes", "expected"), [(15, [23, 38, 53]), (0, [])])
def test_checkpoints_come_at_the_latest_after_so_many_minutes(minutes: float, expected: list[int]) -> None:
    """A step takes a minute, but the tenth half of one. Step 7 is saved in any case, and the minutes count from there.

    15 minutes after step 7 are over half a minute after step 22 has begun, that is at step 23.
    """
    train = TrainConfig(epochs=9, checkpoint_every=9, checkpoint_minutes=minutes)
    now, writer = [0.0], Unwritten()
    hook = SaveCheckpoint(writer, None, train, Tally(), {}, clock=lambda: 60 * now[0])  # type: ignore[arg-type]
    for step in range(1, 60):
        now[0] += 1 if step != 10 else 0.5
        place = Place(step, 0, step)
        if hook.due(place) or step == 7:
            hook.pause(place, STATE, {})
    assert writer.steps == [7, *expected]


def test_evaluations_start_late_come_every_so_often_and_last() -> None:
    train = TrainConfig(epochs=10, eval_from=4, eval_every=4)
    assert [epoch for epoch in range(1, 11) if is_evaluated(epoch, train)] == [4, 8, 10]
    assert not any(is_evaluated(epoch, TrainConfig(epochs=10, eval_from=0)) for epoch in range(11))
    hook = Evaluate(train, lambda params: 0.5, Leaving())
    assert hook.due(Place(40, 4, 0))
    assert not hook.due(Place(43, 4, 3))


def count(windows: int, skipped: int, losses: Sequence[float] = (0.0, 2.0)) -> dict[str, Any]:
    console = Console(quiet=True)
    hook = CountEpoch(Tally(), windows, console, "a.json")
    for step, loss in enumerate(losses):
        load = Loaded(None, 1, ((0, "broken.mp4"),) * skipped, repeated=3)  # type: ignore[arg-type]
        hook.after_step(Done(step, load, {"loss": loss, "grad_norm": 1.0}, 0.5))
    record: dict[str, Any] = {}
    hook.pause(Place(2, 1, 0), None, record)  # type: ignore[arg-type]
    return record


def test_an_epoch_is_summed_up() -> None:
    assert count(windows=5, skipped=1) == {
        "epoch": 1,
        "step": 2,
        "loss": 1.0,
        "grad_norm": 1.0,
        "seconds": 1.0,
        "windows_without_segment": 2,
        "windows_skipped": 2,
        "reads_repeated": 6,
        "steps_skipped": 0,
    }


def test_skipped_steps_count_in_no_mean() -> None:
    record = count(windows=9, skipped=0, losses=(3.0, math.nan, 5.0))
    assert (record["loss"], record["steps_skipped"], record["seconds"]) == (4.0, 1, 1.5)
    with pytest.raises(UserError, match=r"\bepoch 1: no step\b"):
        count(windows=9, skipped=0, losses=(math.nan, math.inf))


def test_an_epoch_that_taught_nothing_ends_the_run() -> None:
    with pytest.raises(UserError, match=r"\bepoch 1: no video\b"):
        count(windows=4, skipped=2)
    with pytest.raises(UserError, match=r"\bepoch 1: no window\b.*\ba\.json\b"):
        count(windows=2, skipped=0)
