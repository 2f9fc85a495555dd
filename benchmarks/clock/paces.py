"""When pictures are truly shown, and the wrong stamps that files say instead."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]
HOUR = 3600.0
WRAPPED = (1 << 33) / 90000  # seconds after which the clock of MPEG streams starts anew: 26.5 hours
UNEVEN = "single pictures skipped"
SAFE = 6  # pictures at either end that get no wrong stamp, unless that is the case


@dataclass(frozen=True)
class Pace:
    """How pictures follow each other.

    Attributes:
      rate: frames per second that a header would say.
      times: N and a generator -> `[N]` true seconds from the first picture, ascending.
      steady: whether all steps are equal.
      count: smallest and largest number of pictures.
    """

    rate: Fraction
    times: Callable[[int, np.random.Generator], Times]
    steady: bool = False
    count: tuple[int, int] = (40, 200)


def _steady(rate: Fraction) -> Pace:
    return Pace(rate, lambda count, rng: np.arange(count) / float(rate), steady=True)


def _from_steps(steps: Times) -> Times:
    return np.concatenate(([0.0], np.cumsum(steps)))


def _two_rates(count: int, rng: np.random.Generator) -> Times:
    first, second = rng.choice([60, 30, 25, 15, 10, 5], 2, replace=False)
    return _from_steps(1 / np.where(np.arange(count - 1) < rng.integers(count // 4, 3 * count // 4), first, second))


def _jitter(count: int, rng: np.random.Generator) -> Times:
    times = (np.arange(count) + rng.uniform(-0.3, 0.3, count)) / 30
    result: Times = times - times[0]
    return result


def _drift(count: int, rng: np.random.Generator) -> Times:
    first, last = rng.permutation([25.0, 30.0])
    return _from_steps(1 / np.linspace(first, last, count - 1))


def _cadence(count: int, rng: np.random.Generator) -> Times:
    """Returns the times of film shown at 60 fields per second: two fields, three fields, two, ..."""
    return _from_steps(np.where(np.arange(count - 1) % 2, 3, 2) / 60)


def _skipped(count: int, rng: np.random.Generator) -> Times:
    """Returns the times of a recording at 30 frames per second that leaves out single pictures."""
    return _from_steps(rng.choice([1, 1, 1, 2, 2, 3], count - 1) / 30)


PACES = {
    **{
        f"{float(rate):.5g} a second": _steady(rate)
        for rate in (
            *(Fraction(whole) for whole in (25, 30, 24, 50, 60, 15, 10, 5)),
            *(Fraction(whole * 1000, 1001) for whole in (24, 30, 60)),
            Fraction(25, 2),
            Fraction(119, 4),
        )
    },
    "one a second for two hours": Pace(
        Fraction(1), lambda count, rng: np.arange(float(count)), steady=True, count=(7200, 7200)
    ),
    "one every 40 s for two hours": Pace(
        Fraction(1, 40), lambda count, rng: 40 * np.arange(float(count)), steady=True, count=(180, 180)
    ),
    "two rates": Pace(Fraction(30), _two_rates),
    "jitter": Pace(Fraction(30), _jitter),
    "drift": Pace(Fraction(30), _drift),
    "cadence of two and three fields": Pace(Fraction(30), _cadence),
    UNEVEN: Pace(Fraction(30), _skipped),
}
LONG = tuple(name for name in PACES if name.endswith("hours"))

# What the header says, as a multiple of the pace's own rate; None: nothing.
HEADERS: dict[str, Fraction | None] = {
    "right": Fraction(1),
    "1% too high": Fraction(101, 100),
    "30 for 29.75": Fraction(120, 119),
    "a third too low": Fraction(2, 3),
    "double": Fraction(2),
    "tenfold": Fraction(10),
    "a fifth": Fraction(1, 5),
    "absent": None,
}


@dataclass(frozen=True)
class Stamped:
    """A clock and what is written of it.

    Attributes:
      times: `[N]` true seconds from the first picture.
      stamps: `[N]` seconds that the file says; NaN: nothing.
      parts: lengths of stretches that must be coded apart from each other.
    """

    times: Times
    stamps: Times
    parts: tuple[int, ...] = ()


Fault = Callable[[Times, np.random.Generator], Stamped]


def _changed(change: Callable[[Times, np.random.Generator], None]) -> Fault:
    """Makes a fault of a function that changes stamps in place."""

    def fault(times: Times, rng: np.random.Generator) -> Stamped:
        stamps = times.copy()
        change(stamps, rng)
        return Stamped(times, stamps)

    return fault


def _places(stamps: Times, rng: np.random.Generator, count: int, apart: int = 4) -> NDArray[np.int64]:
    """Chooses pictures that are at least so far from each other."""
    slots = np.arange(SAFE, len(stamps) - SAFE, apart)
    return np.sort(rng.choice(slots, min(count, len(slots)), replace=False))


def _repeat(count: int) -> Fault:
    def change(stamps: Times, rng: np.random.Generator) -> None:
        places = _places(stamps, rng, count)
        stamps[places] = stamps[places - 1]

    return _changed(change)


def _repeat_run(stamps: Times, rng: np.random.Generator) -> None:
    length = int(rng.integers(2, 9))
    start = int(rng.integers(SAFE, len(stamps) - SAFE - length))
    stamps[start : start + length] = stamps[start - 1]


def _groups(size: int) -> Fault:
    def change(stamps: Times, rng: np.random.Generator) -> None:
        stamps[:] = stamps[np.arange(len(stamps)) // size * size]

    return _changed(change)


def _coarse(stamps: Times, rng: np.random.Generator) -> None:
    stamps[:] = np.floor(stamps * 10 + 1e-6) / 10


def _low(count: int) -> Fault:
    def change(stamps: Times, rng: np.random.Generator) -> None:
        for place in _places(stamps, rng, count):
            back = int(rng.integers(2, place + 1))
            stamps[place] = stamps[place - back] + (stamps[place - back + 1] - stamps[place - back]) / 2

    return _changed(change)


def _high(least: float, most: float, count: int = 1) -> Fault:
    def change(stamps: Times, rng: np.random.Generator) -> None:
        for place in _places(stamps, rng, count):
            stamps[place] += rng.uniform(least, most)

    return _changed(change)


def _swapped(stamps: Times, rng: np.random.Generator) -> None:
    for place in _places(stamps, rng, 2):
        stamps[place : place + 2] = stamps[place : place + 2][::-1].copy()


def _missing(count: int) -> Fault:
    def change(stamps: Times, rng: np.random.Generator) -> None:
        stamps[_places(stamps, rng, count)] = np.nan

    return _changed(change)


def _one_in_twelve(stamps: Times, rng: np.random.Generator) -> None:
    stamps[np.arange(len(stamps)) % 12 > 0] = np.nan


def _all_missing(stamps: Times, rng: np.random.Generator) -> None:
    stamps[:] = np.nan


def _jump(seconds: float, place: float) -> Fault:
    def change(stamps: Times, rng: np.random.Generator) -> None:
        stamps[max(1, int(place * len(stamps))) :] += seconds

    return _changed(change)


def _restart(times: Times, rng: np.random.Generator) -> Stamped:
    half = int(rng.integers(len(times) // 4, 3 * len(times) // 4))
    return Stamped(times, np.concatenate((times[:half], times[half:] - times[half])), (half, len(times) - half))


def _still(*places: float) -> Fault:
    """Makes pictures stand: the stamps are true, and the pictures after them come later."""

    def fault(times: Times, rng: np.random.Generator) -> Stamped:
        later = times.copy()
        for place in places:
            at = min(len(times) - 1, max(1, int(place * len(times))))
            later[at:] += rng.uniform(2, 30)
        return Stamped(later, later)

    return fault


FAULTS: dict[str, Fault] = {
    "none": _changed(lambda stamps, rng: None),
    "one repeated": _repeat(1),
    "several repeated": _repeat(5),
    "a run repeated": _changed(_repeat_run),
    "the second repeats the first": _changed(lambda stamps, rng: stamps.__setitem__(1, stamps[0])),
    "the last repeats the one before": _changed(lambda stamps, rng: stamps.__setitem__(-1, stamps[-2])),
    "all in pairs": _groups(2),
    "all in threes": _groups(3),
    "tenths of a second": _changed(_coarse),
    "one too low": _low(1),
    "several too low": _low(4),
    "one too high by some frames": _high(0.3, 2),
    "one too high by minutes": _high(60, 400),
    "one too high by hours": _high(HOUR, 5 * HOUR),
    "several too high": _high(0.3, 20, 4),
    "neighbours swapped": _changed(_swapped),
    "one missing": _missing(1),
    "several missing": _missing(6),
    "one in twelve present": _changed(_one_in_twelve),
    "all missing": _changed(_all_missing),
    "a restart": _restart,
    "a jump of an hour after the first": _jump(HOUR, 0),
    "a jump of an hour in the middle": _jump(HOUR, 0.5),
    "a jump of an hour before the last": _jump(HOUR, 0.999),
    "a jump of 26.5 h in the middle": _jump(WRAPPED, 0.5),
    "a still stretch": _still(0.5),
    "three still stretches": _still(0.2, 0.5, 0.8),
    "still after the first": _still(0),
    "still before the last": _still(1),
}
MISSING = ("one missing", "several missing", "one in twelve present", "all missing")
REPAIRED = tuple(name for name in FAULTS if name != "none" and "jump" not in name and "still" not in name)
