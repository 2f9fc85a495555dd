"""Profiles of chosen steps: when they start and end, and what is said of steps that are never taken."""

import io
from pathlib import Path

import jax.numpy as jnp
import pytest
from rich.console import Console

from adatad_jax.training.loop import Done, Place
from adatad_jax.training.meter import Meter
from adatad_jax.training.profiling import PROFILE_FOLDER, profiled_steps


def profile(workdir: Path, chosen: tuple[int, ...], first: int, end: int) -> tuple[list[str], str]:
    """Takes the steps after `first` up to `end`, of a run of 8; returns when the profile ran, and what was printed."""
    console = Console(file=io.StringIO(), width=300)
    meter, log = Meter(8, first, 1), []
    with profiled_steps(workdir, chosen, meter, console) as hooks:
        for step in range(first, end):
            log.append(f"{step + 1}: {'profiled' if any(hook.running for hook in hooks) else 'not'}")  # type: ignore[attr-defined]
            meter.after_step(Done(step, None, {}, 1.0))  # type: ignore[arg-type]
            place = Place(step + 1, 0, step + 1)
            for hook in hooks:
                if hook.due(place):
                    hook.pause(place, jnp.ones(1), {})  # type: ignore[arg-type]
    return [line.split(":")[0] for line in log if "profiled" in line], console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("chosen", "first", "end", "profiled", "said"),
    [
        ((3, 4), 0, 8, ["3", "4"], ("steps 3 to 4",)),
        ((1, 2), 0, 8, ["1", "2"], ("steps 1 to 2",)),
        ((2, 5), 3, 8, ["4", "5"], ("steps 4 to 8", "4 to 5 are profiled", "steps 4 to 5")),
        ((7, 9), 6, 8, ["7", "8"], ("steps 7 to 8", "7 to 8 are profiled")),
        ((5, 8), 4, 6, ["5", "6"], ("steps 5 to 6",)),  # the run ends inside
    ],
)
def test_the_steps_that_are_chosen_are_profiled(
    tmp_path: Path, chosen: tuple[int, int], first: int, end: int, profiled: list[str], said: tuple[str, ...]
) -> None:
    found, text = profile(tmp_path, chosen, first, end)
    assert found == profiled
    for part in (*said, str(tmp_path / PROFILE_FOLDER)):
        assert part in text
    assert list((tmp_path / PROFILE_FOLDER).glob("plugins/profile/*/*.xplane.pb"))


@pytest.mark.parametrize(
    ("chosen", "first", "end", "said"),
    [
        ((9, 12), 0, 8, "train.profile_steps=9,12: this start takes the steps 1 to 8"),
        ((1, 2), 4, 8, "train.profile_steps=1,2: this start takes the steps 5 to 8"),
        ((7, 8), 4, 5, "after step 5"),  # the run ends before
    ],
)
def test_steps_that_are_never_taken_are_named(
    tmp_path: Path, chosen: tuple[int, int], first: int, end: int, said: str
) -> None:
    found, text = profile(tmp_path, chosen, first, end)
    assert not found
    assert said in text
    assert not (tmp_path / PROFILE_FOLDER).exists()


def test_no_profile_is_no_word(tmp_path: Path) -> None:
    assert profile(tmp_path, (), 0, 8) == ([], "")
