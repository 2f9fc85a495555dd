"""Speed and time left of a training, worked out by hand."""

import time

import pytest

from adatad_jax.training.loop import Done
from adatad_jax.training.meter import RECENT, Meter


def done(step: int, seconds: float, waited: float = 0.0) -> Done:
    return Done(step, None, {}, seconds, waited)  # type: ignore[arg-type]


def test_the_first_step_of_a_start_counts_for_nothing() -> None:
    meter = Meter(total=10, first=3, frames_per_step=100)
    assert (meter.step, meter.seconds, meter.frames_per_second, meter.waiting, meter.left) == (3, *[None] * 4)
    meter.after_step(done(3, 1000.0, 900.0))  # compiles
    assert (meter.step, meter.seconds, meter.frames_per_second, meter.waiting, meter.left) == (4, *[None] * 4)
    meter.after_step(done(4, 2.0, 0.5))
    meter.after_step(done(5, 3.0, 1.5))
    assert (meter.step, meter.seconds, meter.frames_per_second, meter.waiting) == (6, 2.5, 40, 0.4)
    assert meter.left == pytest.approx(4 * 2.5)


def test_only_recent_steps_count() -> None:
    meter = Meter(total=1000, first=0, frames_per_step=1)
    for step in range(10):
        meter.after_step(done(step, 7.0))
    for step in range(10, 10 + RECENT):
        meter.after_step(done(step, 2.0))
    assert meter.seconds == 2


def test_pauses_are_expected_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    meter = Meter(total=12, first=0, frames_per_step=1)
    meter.after_step(done(0, 50.0))
    now += 2 * 3 + 10  # two steps of 3 s, and an evaluation of 10 s
    meter.after_step(done(1, 3.0))
    meter.after_step(done(2, 3.0))
    assert meter.left == pytest.approx(9 * (3 + 10 / 2))
