"""Labels that are numbers: what each is taken for, and every case in which nothing can be told."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adatad_jax.errors import UserError
from adatad_jax.evaluation.results_labels import ClassList, name_labels, numbers_of, pair_classes, read_class_list

NAMES = ("jump", "dance", "sit")
PATH = Path("found.json")
LISTED = ClassList(Path("classes.txt"), NAMES, {(k,): name for k, name in enumerate(NAMES)}, counted=True)


def write(folder: Path, text: str) -> Path:
    path = folder / "classes.txt"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("label", "numbers"),
    [
        (3, (3,)),
        ("3", (3,)),
        (" 3 ", (3,)),
        ("3.0", (3,)),
        ("003", (3,)),
        ("id_003", (3,)),
        ("3,1", (3, 1)),
        ("(3, 1)", (3, 1)),
        ("3.5", None),
        ("50 m", None),
        ("jump", None),
        ("1,2,3", None),
        ("", None),
        ("9" * 5000, None),
    ],
)
def test_numbers_in_labels(label: Any, numbers: tuple[int, ...] | None) -> None:
    assert numbers_of(label) == numbers


@pytest.mark.parametrize("spelt", [lambda k: k, str, lambda k: f"{k}.0", lambda k: f"{k:03d}"])
def test_numbers_are_lines_counted_from_0(spelt: Any) -> None:
    found, notes = name_labels([spelt(k) for k in (2, 0, 2)], ["jump", "dance"], LISTED, PATH)
    assert found == ["sit", "jump", "sit"]
    assert "0 is jump, 2 is sit" in notes[0]


def test_names_stay_names() -> None:
    assert name_labels(["dance", "sing"], NAMES, LISTED, PATH) == (["dance", "sing"], ())
    # "7" is a class of the annotations; "5.0" and 7 are numbers, of which one is the same class.
    found, notes = name_labels(["7", 7, "5.0"], ["7", "003"], None, PATH)
    assert found == ["7", "7", "5"]
    assert notes == ()


def test_one_class_named_by_a_number_does_not_make_all_of_them_numbers() -> None:
    assert name_labels([0, 2], ["jump", "360", "sit"], LISTED, PATH)[0] == ["jump", "sit"]
    assert name_labels(["360", "sit"], ["jump", "360", "sit"], LISTED, PATH) == (["360", "sit"], ())
    with pytest.raises(UserError, match=r"--classes=FILE"):
        name_labels([0, 1], ["jump", "360"], None, PATH)


def test_numbers_in_the_annotations_come_before_a_list() -> None:
    assert name_labels([0, 3], ["003", "000"], LISTED, PATH)[0] == ["000", "003"]


@pytest.mark.parametrize("labels", [[0, "dance"], ["0", "dance"], [1, "sing"]])
def test_numbers_beside_names_are_refused(labels: list[Any]) -> None:
    with pytest.raises(UserError, match=r"1 detections have a number as label \([01]\), the others a name"):
        name_labels(labels, NAMES, LISTED, PATH)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 3, 9], r"2 detections .*classes\.txt \(3, 9\).*3 classes have the numbers 0 to 2"),
        ([-1, 1], r"1 detections .*\(-1\)"),
        ([1, 2, 3, 3], r"2 detections .*\(3\).*counted from 1.*1 jump"),
        ([0, 3], r"1 detections .*\(3\)(?!.*counted from 1)"),
        ([10**30], r"1 detections"),
    ],
)
def test_numbers_that_the_list_lacks_are_refused(labels: list[int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        name_labels(labels, ["jump"], LISTED, PATH)


def test_a_list_that_may_be_counted_from_1_is_doubted() -> None:
    """A list of more lines than labels: 1 to 2 of 3 lines fits both ways."""
    found, notes = name_labels([1, 2], ["dance", "sit"], LISTED, PATH)
    assert found == ["dance", "sit"]
    assert "no label is 0" in notes[0]


@pytest.mark.parametrize("text", ["7 jump\n9 dance", "9\tdance\n7\tjump", "7,jump\n9,dance", "id,key\n9,dance\n7,jump"])
def test_lists_with_numbers(text: str, tmp_path: Path) -> None:
    listed = read_class_list(write(tmp_path, text), ["jump", "dance"])
    assert listed.names == ("jump", "dance")
    assert name_labels([9, "7"], ["jump"], listed, PATH)[0] == ["dance", "jump"]
    with pytest.raises(UserError, match=r"\(8\).*numbers 7 to 9"):
        name_labels([8], ["jump"], listed, PATH)


def test_numbers_may_be_part_of_a_name(tmp_path: Path) -> None:
    path = write(tmp_path, "50 m\n100 m\n")
    assert read_class_list(path, ["100 m"]).names == ("50 m", "100 m")
    assert read_class_list(path, ["unknown"]).counted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 jump\n1 dance", "number listed more than once: 1"),
        ("1 jump\n2 jump", "label listed more than once: jump"),
        ("id,key\n1,jump\nx,dance", r"line 3: x,dance; .*whole number"),
        ("jump\njump", "more than once"),
        ("", "empty"),
    ],
)
def test_lists_that_are_wrong(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read_class_list(write(tmp_path, text), ["jump", "dance"])


def test_pairs_need_two_lists(tmp_path: Path) -> None:
    known = ["close lid", "open,tap"]
    verbs = read_class_list(write(tmp_path, "id,key\n3,close\n0,open"), known)
    with pytest.raises(UserError, match=r"3,1.*--classes=VERBS and --noun-classes=NOUNS"):
        name_labels(["3,1"], known, verbs, PATH)
    nouns = read_class_list(write(tmp_path, "id,key\n1,lid\n2,tap"), known)
    actions = pair_classes(verbs, nouns, known)
    found, notes = name_labels(["3,1", "0, 2", "3,2"], known, actions, PATH)
    assert found == ["close lid", "open,tap", "close,tap"]
    assert "3,1 is close lid" in notes[0]
    for label in ("3,9", 3):
        with pytest.raises(UserError, match=r"1 detections .*numbers 0,1 to 3,2"):
            name_labels([label], known, actions, PATH)


@given(st.lists(st.integers(0, 2), min_size=1), st.permutations(NAMES))
def test_the_names_of_numbers_are_those_of_the_list(labels: list[int], names: list[str]) -> None:
    listed = ClassList(PATH, tuple(names), {(k,): name for k, name in enumerate(names)}, counted=True)
    for spelt in (labels, [str(label) for label in labels]):
        assert name_labels(spelt, NAMES, listed, PATH)[0] == [names[label] for label in labels]
