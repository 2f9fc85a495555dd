"""The tables of the ablation, from outcomes whose means and differences are plain."""

from pathlib import Path

import pytest

from benchmarks.ablation.arms import ARMS
from benchmarks.ablation.runs import Outcome, expected_minutes
from benchmarks.ablation.written import by_arm, differences, draw, report


def outcome(arm: str, seed: int, map_50: float, average_map: float, seconds: float = 60) -> Outcome:
    return Outcome(arm, seed, map_50, average_map, 12345, 3 * 2**20, seconds)


FOUND = [
    outcome("tia", 0, 0.9, 0.80),
    outcome("frozen", 0, 0.8, 0.70),
    outcome("tia", 1, 0.8, 0.62),
    outcome("frozen", 1, 0.7, 0.64),
    outcome("adapter", 1, 0.7, 0.60),
]


def test_every_seed_and_the_means_are_in_the_tables() -> None:
    lines = report(FOUND, {"tia": 0.06, "frozen": 0.05, "adapter": 0.055}).splitlines()
    assert "| frozen backbone | 75.0 (70.0 to 80.0) | 67.0 (64.0 to 70.0) | 12,345 | 3 | 50.0 |" in lines
    assert "| TIA | 90.00 / 80.00 | 80.00 / 62.00 |" in lines
    assert "| plain adapters |  | 70.00 / 60.00 |" in lines  # seed 0 is not there yet


def test_arms_are_compared_on_the_seeds_that_both_have() -> None:
    """TIA is 10 above frozen on seed 0 and 2 below on seed 1; plain adapters are there on seed 1 alone."""
    lines = list(differences(by_arm(FOUND)))
    assert lines == [
        "- TIA against frozen backbone: +4.0 (-2.0 to +10.0), above on 1 of 2 seeds",
        "- TIA against plain adapters: +2.0, above on 1 of 1 seeds",
        "- plain adapters against frozen backbone: -4.0, above on 0 of 1 seeds",
    ]


def test_a_memory_that_is_not_told_is_said() -> None:
    (told,) = FOUND[:1]
    silent = Outcome(**{**told.__dict__, "step_bytes": None})
    assert "| not told |" in report([silent], {silent.arm: 0.1})


def test_what_is_left_takes_as_long_as_before() -> None:
    """Two arms on a second seed: one took 60 s, the other 180 s; of a third, their mean is expected."""
    found = [outcome("tia", 0, 0, 0, 60), outcome("full", 0, 0, 0, 180)]
    assert "about 6 min left" in expected_minutes(found, [("tia", 1), ("full", 1), ("side", 1)])
    assert expected_minutes([], [("tia", 0)]) == ""


@pytest.mark.parametrize("found", [FOUND, FOUND[:1], [outcome(arm, 0, 0.5, 0.4) for arm in ARMS]])
def test_the_picture_is_drawn(found: list[Outcome], tmp_path: Path) -> None:
    draw(found, tmp_path / "images" / "ablation.png")
    assert (tmp_path / "images" / "ablation.png").read_bytes().startswith(b"\x89PNG")
