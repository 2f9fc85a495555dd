"""ELAN's text, as it and spreadsheets write it: what is read, and what is refused."""

from pathlib import Path

import pytest

from adatad_jax.annotations.records import Length
from adatad_jax.annotations.write import AnnotatedVideo, LabelledSegment, to_elan
from adatad_jax.errors import UserError
from tests.annotations.reading import plain, read


@pytest.mark.parametrize(
    "line",
    [
        "default\t00:00:01.500\t00:00:03.250\tjump",
        "default\t\t00:00:01.500\t00:00:03.250\tjump",
        "default\t00:00:01.500\t00:00:03.250\t00:00:01.750\tjump",
        "default\t\t1.5\t3.25\tjump",
        "default\t1500\t3250\tjump",
        "default\t1500\t3250\t1750\tjump",
        "default\t\t00:00:01.500\t1.5\t1500\t00:00:03.250\t3.25\t3250\t00:00:01.750\t1.75\t1750\tjump",
        "default\t00:00:01.500\t1.500\t00:00:03.250\t3.250\tjump",
        "default\t1\t1500\t3250\t1750\tjump",
        "default\t1\t1500\t3250\tjump",
        "default\t1\t00:00:01.500\t00:00:03.250\tjump",
        "default\t1\t1.5\t3.25\t1.75\tjump",
    ],
)
def test_elan_without_a_header(line: str, tmp_path: Path) -> None:
    file = read(tmp_path / "clip.txt", f"{line}\n{line.replace('jump', 'sit down')}\n")
    assert (file.key, plain(file)) == ("elan", [("clip", 1.5, 3.25, "jump"), ("clip", 1.5, 3.25, "sit down")])


def test_elan_with_headers_of_any_language(tmp_path: Path) -> None:
    english = "Tier\tBegin Time - msec\tEnd Time - msec\tDuration - msec\tAnnotation\tFile Path\n"
    file = read(tmp_path / "x.txt", english + "default\t1500\t3250\t1750\tjump\t/home/me/clip.eaf\n")
    assert plain(file) == [("/home/me/clip", 1.5, 3.25, "jump")]
    french = "Acteur\tTemps de départ - hh:mm:ss.ms\ttemps de fin - hh:mm:ss.ms\tDurée - hh:mm:ss.ms\n"
    text = '"#file:///C:/clip.eaf"\n' + french + "saut\t00:00:01.500\t00:00:03.250\t00:01.75\n"
    with pytest.raises(UserError, match=r"clip\.txt: .*--label-from tier"):
        read(tmp_path / "clip.txt", text)
    file = read(tmp_path / "clip.txt", label_from="tier")
    assert plain(file) == [("clip", 1.5, 3.25, "saut")]


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("Tier\tParticipant\tBegin Time - ss.msec\tDuration - ss.msec\tAnnotation", "T\tme\t1.5\t1.75\tx"),
        ("Zeile\tBeginn - ss.msec\tDauer - ss.msec\tAnnotation", "T\t1.5\t1.75\tx"),
        ("Tier\tBegin Time - msec\tEnd Time - ss.msec\tAnnotation", "T\t1500\t3.25\tx"),
        ("Tier\tBegin Time - msec\tDuration - ss.msec\tAnnotation", "T\t1500\t1.75\tx"),
        ("Acteur\tTemps de départ - msec\ttemps de fin - msec\tValeur", "T\t1500\t3250\tx"),
        ("Begin Time - hh:mm:ss:ff PAL\tBegin Time - msec\tEnd Time - msec\tT", "00:00:01:12\t1500\t3250\tx"),
    ],
)
def test_elan_times_are_told_by_the_header(header: str, line: str, tmp_path: Path) -> None:
    assert plain(read(tmp_path / "clip.txt", f"{header}\n{line}\n")) == [("clip", 1.5, 3.25, "x")]


def test_elan_without_begins_or_in_an_order_that_cannot_be_told_is_refused(tmp_path: Path) -> None:
    for text in (
        "Tier\tEnd Time - msec\tDuration - msec\tAnnotation\nT\t3250\t1750\tx\n",
        "T\t3250\t1500\tx\n",
    ):
        with pytest.raises(UserError, match=r"clip\.txt: .*begin and end.*--format"):
            read(tmp_path / "clip.txt", text)


def test_elan_leaves_out_columns_beside_the_annotation(tmp_path: Path) -> None:
    header = "Ebene\tTeilnehmer\tBegin Time - msec\tEnd Time - msec\tAnnotation\tCV Entry Description\tNotes\n"
    file = read(tmp_path / "clip.txt", header + "T\tme\t1500\t3250\tx\ta jump\tblurred\n")
    assert plain(file) == [("clip", 1.5, 3.25, "x")]
    assert sum("CV Entry Description" in note and "Notes" in note for note in file.notes) == 1


@pytest.mark.parametrize(("form", "time"), [("msec", "00:00:01.500"), ("msec", "1.5"), ("hh:mm:ss.ms", "1.5")])
def test_elan_times_in_another_form_than_the_header_says_are_named(form: str, time: str, tmp_path: Path) -> None:
    text = f"Tier\tBegin Time - {form}\tEnd Time - {form}\tAnnotation\nT\t{time}\t{time}\tx\n"
    with pytest.raises(UserError, match=rf'line 2: start is "{time}".*{form}'):
        read(tmp_path / "clip.txt", text).check()


def test_elan_labels_that_look_like_the_line_on_the_file_survive(tmp_path: Path) -> None:
    segments = (LabelledSegment(1.5, 3.25, "#file:x"),)
    text = to_elan([AnnotatedVideo("a", "a.mp4", "", Length(), segments)])
    assert plain(read(tmp_path / "a.txt", text)) == [("a.mp4", 1.5, 3.25, "#file:x")]


def test_elan_saved_by_a_spreadsheet(tmp_path: Path) -> None:
    text = 'Tier,Begin Time - hh:mm:ss.ms,End Time - hh:mm:ss.ms,Annotation\nx,00:00:01.500,00:00:03.250,"sit, down"\n'
    file = read(tmp_path / "clip.csv", text)
    assert (file.key, plain(file)) == ("elan", [("clip", 1.5, 3.25, "sit, down")])


def test_elan_tiers_in_columns_or_as_labels(tmp_path: Path) -> None:
    columns = "Begin Time - ss.msec\tEnd Time - ss.msec\tjump\tmood\n1.5\t3.25\thigh\t\n2\t4\tlow\tgood\n"
    rows = [("x", 1.5, 3.25, "high"), ("x", 2, 4, "low"), ("x", 2, 4, "good")]
    assert plain(read(tmp_path / "x.txt", columns)) == rows
    rows = [("x", 1.5, 3.25, "jump"), ("x", 2, 4, "jump"), ("x", 2, 4, "mood")]
    assert plain(read(tmp_path / "x.txt", label_from="tier")) == rows
    tiers = "jump\t00:00:01.500\t00:00:03.250\t\nsit\t00:00:04.000\t00:00:05.000\tx\n"
    assert plain(read(tmp_path / "y.txt", tiers, label_from="tier")) == [("y", 1.5, 3.25, "jump"), ("y", 4, 5, "sit")]
    with pytest.raises(UserError, match=r"y\.txt.*\n.*line 1: the label is empty"):
        read(tmp_path / "y.txt").check()
    with pytest.raises(UserError, match=r"'verb'.*value or tier"):
        read(tmp_path / "y.txt", label_from="verb")


def test_elan_wrong_times_are_named(tmp_path: Path) -> None:
    text = "default\t00:00:01.500\t00:00:03.250\tjump\ndefault\t00:00:05.000\t00:00:04.000\tjump\n"
    with pytest.raises(UserError, match=r"1 problem(.|\n)*line 2: ends at 4\.0 .*5\.0"):
        read(tmp_path / "x.txt", text).check()
    with pytest.raises(UserError, match=r'line 3: start is "00:00:07:12"'):
        read(tmp_path / "x.txt", text.replace("5.000", "3.000") + "default\t00:00:07:12\t00:00:08.000\tx\n").check()
