"""Repair of time stamps: what is believed, against clocks worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adatad_jax.video.reordering import reordered
from adatad_jax.video.stamps import evened, straightened

NONE = np.nan
STEADY = np.arange(60) / 25


def changed(places: dict[int, float]) -> np.ndarray:
    """Returns steady stamps of 60 frames at 25 per second, with other stamps at some places."""
    stamps = STEADY.copy()
    for place, stamp in places.items():
        stamps[place] = stamp
    return stamps


@pytest.mark.parametrize(
    ("places", "told"),
    [
        ({20: 19 / 25}, ["1 of 60", "repeat"]),
        ({20: NONE, 21: NONE}, ["2 of 60", "missing"]),
        ({20: 0.1}, ["1 of 60", "do not fit", "frame 20"]),
        ({20: 99.0}, ["1 of 60", "do not fit", "frame 20"]),
        ({20: 99.0, 21: 99.04, 22: 99.08}, ["3 of 60", "do not fit"]),
        ({0: -3600.0}, ["1 of 60", "jumps", "3600.04 s", "frame 0"]),
        ({59: 90000.0}, ["1 of 60", "jumps", "frame 59"]),
    ],
)
def test_wrong_stamps_are_put_between_their_neighbours(places: dict[int, float], told: list[str]) -> None:
    times, notes = straightened(changed(places), 25.0)
    assert times is not None
    np.testing.assert_allclose(times, STEADY, atol=1e-9)
    assert all(fact in " ".join(notes) for fact in told)


@pytest.mark.parametrize("start", [0.0, 1.4, -5.0, 3600.0, 95443.7])
def test_a_part_whose_clock_starts_anew_follows_the_one_before(start: float) -> None:
    stamps = np.concatenate([STEADY, start + STEADY])
    times, notes = straightened(stamps, 25.0)
    assert times is not None
    np.testing.assert_allclose(times, np.arange(120) / 25, atol=1e-9)
    assert "frame 60" in " ".join(notes)


def test_a_still_stretch_is_no_fault() -> None:
    stamps = np.where(np.arange(60) < 30, STEADY, STEADY + 30)
    times, notes = straightened(stamps, 25.0)
    np.testing.assert_array_equal(times, stamps)
    assert notes == []


def test_stamps_that_contradict_each_other_are_no_clock() -> None:
    stamps = np.random.default_rng(0).permutation(60) * 10.0
    assert straightened(stamps, 25.0)[0] is None


@settings(deadline=None)
@given(st.lists(st.floats(0.03, 0.045), min_size=12, max_size=80), st.data())
def test_a_missing_stamp_lies_between_its_neighbours_and_the_others_stay(
    steps: list[float], data: st.DataObject
) -> None:
    stamps = np.cumsum(steps)
    place = data.draw(st.integers(1, len(steps) - 2))
    holed = stamps.copy()
    holed[place] = NONE
    times, _ = straightened(holed, 0.0)
    assert times is not None
    others = np.arange(len(steps)) != place
    np.testing.assert_array_equal(times[others], stamps[others])
    assert times[place] == pytest.approx((stamps[place - 1] + stamps[place + 1]) / 2)


def test_frames_are_put_in_order_of_presentation() -> None:
    """Groups of one P-frame and the two B-frames that are shown before it."""
    shown = np.array([0, *(place for first in range(1, 58, 3) for place in (first + 2, first, first + 1))])
    order, times, notes = reordered(shown / 25, (np.arange(len(shown)) - 1) / 25, 25.0)
    assert notes == []
    assert order is not None
    np.testing.assert_array_equal(shown[order], np.arange(len(shown)))
    np.testing.assert_allclose(times, np.arange(len(shown)) / 25)


def test_joined_streams_with_b_frames() -> None:
    shown = np.array([0, *(place for first in range(1, 58, 3) for place in (first + 2, first, first + 1))])
    stored = (np.arange(len(shown)) - 1) / 25
    order, times, notes = reordered(np.tile(shown / 25, 2), np.tile(stored, 2), 25.0)
    assert order is not None
    np.testing.assert_array_equal(order % len(shown), np.tile(np.argsort(shown), 2))
    np.testing.assert_allclose(times, np.arange(2 * len(shown)) / 25, atol=1e-9)
    assert f"frame {len(shown)}" in " ".join(notes)


def test_a_constant_rate_behind_rounded_stamps_is_found() -> None:
    """At 25 per second, rounded to tenths: 2 and 3 frames in turn have the same stamp."""
    rounded = np.round(STEADY, 1)
    times, _ = straightened(rounded, 0.0)
    assert times is not None
    even = evened(times, rounded, 0.0)
    assert np.abs((even - even[0]) - STEADY).max() < 0.04


def test_a_rate_that_changes_is_not_made_constant() -> None:
    times = np.concatenate([STEADY, STEADY[-1] + np.arange(1, 61) / 10])
    np.testing.assert_array_equal(evened(times, times, 25.0), times)
