"""How the benchmarks write what they found."""

from pathlib import Path

import pytest

from adatad_jax.errors import UserError
from benchmarks.results import command, markers, replace_between, spread


def test_values_are_their_mean_and_their_ends() -> None:
    assert spread([85.0, 87.25, 86.0]) == "86.1 (85.0 to 87.2)"
    assert spread([-1.0, 3.0], signed=True) == "+1.0 (-1.0 to +3.0)"
    assert spread([85.0]) == "85.0"


def test_the_command_of_a_measurement_names_no_folder() -> None:
    given = ["--arms", "tia", "--workdir", "/home/me/x", "--write", "--json=a.json", "--data=/home/me/y", "--quick"]
    assert command("a.b", given) == "python -m a.b --arms tia --data DIR --quick"
    assert command("a.b", ["--data", "/home/me/y", "--workdir=x"]) == "python -m a.b --data DIR"


def test_a_part_is_replaced_between_its_markers_alone() -> None:
    begin, end = markers("a.b")
    text = f"before\n{begin}\nold\n{end}\nafter\n"
    assert replace_between(text, "a.b", "new", Path("x.md")) == f"before\n{begin}\n\nnew\n\n{end}\nafter\n"
    with pytest.raises(UserError, match=r"^x\.md: .*once each"):
        replace_between(text + begin, "a.b", "new", Path("x.md"))
