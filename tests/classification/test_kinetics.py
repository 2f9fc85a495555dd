"""The class names of Kinetics-400 against those that decord's data set has."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

from adatad_jax.classification.kinetics import kinetics_400


def names_of_decord(source: str) -> list[str]:
    """Returns the longest list of texts in a module, without importing it: it needs libraries that are not here."""
    lists = [node.elts for node in ast.walk(ast.parse(source)) if isinstance(node, ast.List)]
    names = [ast.literal_eval(name) for name in max(lists, key=len)]
    return [re.sub(r"-(.+)-$", r"(\1)", name).replace("_", " ") for name in names]


def test_names_are_those_of_decord() -> None:
    found = importlib.util.find_spec("decord")
    if found is None or found.origin is None:
        pytest.skip("decord, which has the names too, is not installed on this platform")
    source = Path(found.origin).parent / "data" / "kinetics" / "kinetics400_action.py"
    assert list(kinetics_400()) == names_of_decord(source.read_text(encoding="utf-8"))


def test_names_are_in_alphabetical_order() -> None:
    names = kinetics_400()
    assert len(set(names)) == 400
    assert sorted(names, key=str.lower) == list(names)


def test_numbers_of_well_known_classes() -> None:
    """As papers that compare Kinetics-400 with other data sets give them."""
    known = {"archery": 5, "bench pressing": 19, "playing cello": 223, "tai chi": 346, "walking the dog": 378}
    assert {name: kinetics_400().index(name) for name in known} == known
