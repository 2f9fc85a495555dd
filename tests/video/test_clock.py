"""One clock: files with known true times, in which each picture shows its number, read in all ways that there are.

`python -m benchmarks.clock` tries hundreds more.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adatad_jax.video.limits import within
from benchmarks.clock.build import make
from benchmarks.clock.check import RIGHT, WRONG, check
from benchmarks.clock.codings import CODINGS, FIELDS
from benchmarks.clock.paces import LONG
from benchmarks.clock.pictures import BITS, NOTHING, draw, numbers
from benchmarks.clock.recipes import Recipe, recipes

LIMIT = 20.0
SAMPLE = [recipe for recipe in recipes(90) if recipe.pace != LONG[0]]
# What people report publicly: such files play, so they are to be read.
READ = (
    Recipe("webm", "vp8", pace="two rates", fault="one repeated"),
    Recipe("mkv", "h264", header="30 for 29.75"),
    Recipe("ts", "h264 in open groups", layout="first packets cut off"),
    Recipe("ts", "hevc in open groups", layout="first packets cut off"),
    Recipe("mp4", FIELDS),
    Recipe("m2ts", FIELDS),
    Recipe("ts", FIELDS),
    Recipe("ts", "h264", layout="joined, clock anew"),
    Recipe("ts", "h264 with B-frames", layout="joined, clock back"),
    Recipe("webm", "vp8", fault="three still stretches"),
    Recipe("mp4", "h264 with B-frames", layout="a thumbnail track first"),
    Recipe("mp4", "h264 with B-frames", layout="start cut by an edit list"),
)


@pytest.mark.parametrize("recipe", SAMPLE, ids=str)
def test_every_time_is_right_or_the_file_is_refused(tmp_path: Path, recipe: Recipe) -> None:
    made = make(recipe, tmp_path)
    verdict = within(LIMIT, str(recipe), lambda: check(made))
    assert verdict.verdict != WRONG, verdict.reason


@pytest.mark.parametrize("recipe", READ, ids=str)
def test_what_plays_is_read(tmp_path: Path, recipe: Recipe) -> None:
    made = make(recipe, tmp_path)
    verdict = within(LIMIT, str(recipe), lambda: check(made))
    assert verdict.verdict == RIGHT, verdict.reason


@pytest.mark.parametrize("fault", ["late", "early", "slow", "another picture", "a picture too many"])
def test_the_check_sees_what_is_wrong(tmp_path: Path, fault: str) -> None:
    made = make(Recipe("mp4", "h264"), tmp_path)
    assert check(made).verdict == RIGHT
    times, pictures = made.times, made.pictures
    match fault:
        case "late":
            times = np.append(0, times[1:] + 0.1)
        case "early":
            times = np.append(0, np.maximum.accumulate(times[1:] - 0.1))
        case "slow":
            times = times * 1.02
        case "another picture":
            pictures = np.where(pictures == 30, 31, pictures)
        case "a picture too many":
            times, pictures = times[:-1], pictures[:-1]
    assert check(replace(made, times=times, pictures=pictures)).verdict == WRONG


def test_numbers_are_read_and_a_mixture_of_two_pictures_is_none() -> None:
    chosen = np.random.default_rng(0).permutation(1 << BITS)[:200]
    pictures = np.stack([draw(int(number), 64, 96) for number in chosen])
    assert np.array_equal(numbers(pictures), chosen)
    half = pictures.copy()
    half[:, 1::2] = np.roll(pictures, 1, 0)[:, 1::2]
    assert set(numbers(half)) == {NOTHING}
    blank = np.stack([np.full((64, 96, 3), level, np.uint8) for level in (0, 128, 255)])
    assert set(numbers(blank)) == {NOTHING}


def test_a_longer_list_of_combinations_begins_with_the_shorter_one() -> None:
    assert recipes(300)[:100] == recipes(100)
    assert {recipe.coding for recipe in recipes(300)} == set(CODINGS)
