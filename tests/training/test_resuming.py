"""Where a run goes on after a checkpoint, worked out by hand."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from adatad_jax.config.fields import Config
from adatad_jax.data.loader import Loaded
from adatad_jax.training.loop import Hook, Place, run
from adatad_jax.training.optimizer import make_optimizer_config
from adatad_jax.training.resuming import resume

ORDER = {"steps_per_epoch": 4, "videos": 8, "videos_sha256": "a", "batch_size": 2, "release_gpus": 1}


def metadata(**changed: Any) -> dict[str, Any]:
    """Of a checkpoint two steps into the fourth epoch."""
    return {"epoch": 3, "tally": {"loss": 1.5, "steps": 2}, **ORDER, "shift": 0, **changed}


def test_with_the_same_windows_a_run_goes_on_inside_its_epoch() -> None:
    found = resume(metadata(), ORDER, 14)
    assert (found.shift, found.is_anew, found.tally.saved()) == (0, False, {"loss": 1.5, "steps": 2})
    assert resume(metadata(shift=-2), ORDER, 16).shift == -2
    old = {name: metadata()[name] for name in ("epoch", "tally", "steps_per_epoch", "videos")}
    assert not resume(old, ORDER, 14).is_anew


@pytest.mark.parametrize(
    "changed", [{"steps_per_epoch": 5, "videos": 10}, {"videos_sha256": "b"}, {"batch_size": 3}, {"release_gpus": 2}]
)
def test_with_other_windows_the_epoch_begins_anew(changed: dict[str, Any]) -> None:
    found = resume(metadata(), {**ORDER, **changed}, 14)
    assert found.is_anew
    assert found.tally.saved() == {}
    # Step 14 is the first of the epoch after three whole ones.
    assert (14 + found.shift) == 3 * changed.get("steps_per_epoch", 4)


def test_the_schedule_goes_by_epochs_after_a_change_of_their_length() -> None:
    """Warm-up over 2 epochs, cosine to epoch 10: at the start of epoch 3, (1 + cos(pi / 8)) / 2 of the base."""
    config = Config().with_fields(
        {"train.epochs": 8, "train.schedule_epochs": 10, "train.warmup_epochs": 2, "train.tia_rate": 1.0}
    )
    plain = make_optimizer_config(config, 4)
    assert len(plain.scheduled(1.0)) == 32
    assert plain.scheduled(1.0)[12] == pytest.approx((1 + np.cos(np.pi / 8)) / 2)
    longer = make_optimizer_config(config, 5, resume(metadata(), {**ORDER, "steps_per_epoch": 5}, 14).shift)
    rates = longer.scheduled(1.0)
    assert len(rates) == longer.steps == 14 + 5 * 5  # five epochs are left
    assert rates[14] == pytest.approx((1 + np.cos(np.pi / 8)) / 2)
    assert rates[14 + 5] == pytest.approx((1 + np.cos(np.pi * 2 / 8)) / 2)
    shorter = make_optimizer_config(config, 1, resume(metadata(), {**ORDER, "steps_per_epoch": 1}, 14).shift)
    assert shorter.steps == 14 + 5
    assert shorter.scheduled(1.0)[14] == pytest.approx((1 + np.cos(np.pi / 8)) / 2)


def test_a_longer_schedule_holds_from_the_next_step_on() -> None:
    """After all 4 epochs of a cosine that ends at 4, epochs 5 to 8 have the rates of the cosine that ends at 8."""
    fields = {"train.epochs": 4, "train.schedule_epochs": 4, "train.warmup_epochs": 2}
    short = make_optimizer_config(Config().with_fields(fields), 2).scheduled(2.0)
    assert short[-1] == pytest.approx(2 * (1 + np.cos(np.pi * 3 / 4)) / 2, abs=1e-7)
    fields |= {"train.epochs": 8, "train.schedule_epochs": 8}
    rates = make_optimizer_config(Config().with_fields(fields), 2).scheduled(2.0)
    assert len(rates) == 16
    assert rates[8] == pytest.approx(2 * (1 + np.cos(np.pi * 4 / 12)) / 2, abs=1e-7)  # 1.5: higher than at step 7
    assert rates[14] == pytest.approx(2 * (1 + np.cos(np.pi * 10 / 12)) / 2, abs=1e-7)


def test_the_loop_counts_epochs_from_the_change_on() -> None:
    class Places(Hook):
        def __init__(self) -> None:
            self.seen: list[Place] = []

        def due(self, place: Place) -> bool:
            self.seen.append(place)
            return False

    def loads() -> Iterator[Loaded]:
        for _ in range(7):
            yield Loaded(None, 0, ())  # type: ignore[arg-type]

    def step(state: Any, batch: Any) -> tuple[Any, dict[str, np.ndarray]]:
        return state, {"loss": np.zeros(1), "grad_norm": np.zeros(1)}

    hook = Places()
    run(step, None, loads(), 14, 5, [hook], shift=1)  # type: ignore[arg-type]
    assert hook.seen == [(15, 3, 1), (16, 3, 2), (17, 3, 3), (18, 3, 4), (19, 4, 0), (20, 4, 1), (21, 4, 2)]
