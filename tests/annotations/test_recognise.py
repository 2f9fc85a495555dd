"""What a file is recognised as, in every encoding; files of two formats and of none; folders; the public cases."""

import json
import re
import shutil
from fractions import Fraction
from pathlib import Path

import pytest

from adatad_jax.annotations.format_keys import KEYS
from adatad_jax.annotations.recognise import FORMATS
from adatad_jax.annotations.source import Source
from adatad_jax.config.fields import Config
from adatad_jax.data.annotation_table import load_table
from adatad_jax.errors import UserError
from tests.annotations.reading import plain, read
from tests.data.test_annotation_table import write_video
from tests.real_data import real_file

CASES = Path(__file__).parent / "cases"

# file -> key of its format, a word of its name, and its rows, with a point event of boris.csv widened to a second.
EXPECTED = {
    "boris.csv": ("boris", "BORIS", [("/data/a.mp4", 1.5, 3.25, "groom"), ("/data/a.mp4", 4, 4, "jump")]),
    "charades.csv": (
        "charades",
        "Charades",
        [("VID01", 3.1, 9.2, "c010"), ("VID01", 0, 5.6, "c011"), ("VID02", 8.1, 10, "c010")],
    ),
    "elan.txt": ("elan", "ELAN", [("elan", 1.5, 3.25, "jump")]),
    "epic.csv": ("epic-kitchens", "EPIC-Kitchens", [("Q01_01", 1.5, 4.25, "close lid")]),
    "excel_semicolon.csv": ("table", "table", [("a.mp4", 1.5, 3.25, "jump")]),
    "hms.csv": ("table", "table", [("a.mp4", 1.5, 3.25, "jump"), ("b.mp4", 2, 5, "dance")]),
    "ls.json": ("label-studio", "Label Studio", [("/data/upload/1/ab12-a.mp4", 30, 90, "jump")]),
    "via3.csv": ("via-csv", "VIA 3", [("a.mp4", 1.5, 3.25, "jump")]),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_public_cases_are_recognised_by_content(name: str, tmp_path: Path) -> None:
    key, word, rows = EXPECTED[name]
    options = {"point_seconds": 1.0} if name == "boris.csv" else {}
    file = read(CASES / name, **options)
    assert (file.key, plain(file)) == (key, rows)
    assert word in file.summary()
    assert name in file.summary()
    renamed = tmp_path / "elan.data"  # neither the suffix nor, but for ELAN's video, the name matters
    shutil.copy(CASES / name, renamed)
    assert plain(read(renamed, **options)) == rows


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "crlf"])
def test_encodings_and_line_ends(name: str, encoding: str, tmp_path: Path) -> None:
    text = (CASES / name).read_text()
    content = text.replace("\n", "\r\n").encode() if encoding == "crlf" else text.encode(encoding)
    options = {"point_seconds": 1.0} if name == "boris.csv" else {}
    assert plain(read(tmp_path / name, content, **options)) == EXPECTED[name][2]


@pytest.mark.parametrize("name", EXPECTED)
def test_public_cases_train_with_the_lengths_of_their_videos(name: str, tmp_path: Path) -> None:
    """Beside a second file, as a single video cannot be split. At 12.5 frames a second, frame 30 is at 2.4 s."""
    seconds = {
        "ls.json": [("a", 30 / 12.5, 90 / 12.5, "jump")],
        "boris.csv": [("a", 1.5, 3.25, "groom"), ("a", 3.5, 4.5, "jump")],
    }
    expected = seconds.get(name, [(Path(row[0]).stem, *row[1:]) for row in EXPECTED[name][2]])
    videos, annotations = tmp_path / "videos", tmp_path / "annotations"
    videos.mkdir()
    annotations.mkdir()
    shutil.copy(CASES / name, annotations / name)
    (annotations / "other.csv").write_text("video,start,end,label\nother,0,1,jump\n")
    for video in {"other", *(row[0] for row in expected)}:
        write_video(videos / f"{video}.mp4", 135, Fraction(25, 2))
    fields = {"data.annotations": str(annotations), "data.videos": str(videos), "data.point_seconds": 1.0}
    loaded = load_table(Config().with_fields(fields).data)
    found = [
        (video.name, *segment, label)
        for video in loaded.values()
        for segment, label in zip(video.segments.tolist(), video.labels, strict=True)
        if video.name != "other"
    ]
    assert found == [(video, pytest.approx(start), pytest.approx(end), label) for video, start, end, label in expected]
    assert all((video.duration, video.frames) == (pytest.approx(10.8), 135) for video in loaded.values())


def test_a_file_of_two_formats_needs_the_option(tmp_path: Path) -> None:
    columns = "video,start,end,label,Media file,Behavior,Behavior type,Start (s),Stop (s)\n"
    text = columns + "a,0,1,jump,b.mp4,groom,STATE,2,3\n"
    with pytest.raises(UserError, match=r"both\.csv: .*table.*BORIS.*--format table.*config\.data\.format"):
        read(tmp_path / "both.csv", text)
    assert plain(read(tmp_path / "both.csv", format="table")) == [("a", 0, 1, "jump")]
    assert plain(read(tmp_path / "both.csv", format="boris")) == [("b.mp4", 2, 3, "groom")]


def test_a_format_that_is_asked_for_must_fit(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mine\.csv: not .*CVAT"):
        read(tmp_path / "mine.csv", "video,start,end,label\na,0,1,x\n", format="cvat")
    with pytest.raises(UserError, match=r"'boriss'.*\bboris\b"):
        read(tmp_path / "mine.csv", format="boriss")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("a,b\n1,2\n", r"line 1: .*video,start,end,label.*found a,b.*BORIS"),
        ('{"x": 1}', r'"database".*\[\'x\'\].*Label Studio'),
        ("[1, 2", r"not a JSON file"),
        ("<a><b/></a>", r"XML .*\ba\b.*CVAT"),
        ("<a><b></a>", r"not whole XML"),
        (b"PK\x03\x04\xff\xfe\x80", r"ZIP archive"),
        ("video,start,end,label\n", "no segments"),
    ],
)
def test_files_of_no_format(content: str | bytes, told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"(?s)x\.dat.*{told}"):
        read(tmp_path / "x.dat", content)


def test_each_format_has_its_key() -> None:
    assert tuple(one.key for one in FORMATS) == KEYS


def test_each_public_case_fits_one_format_only() -> None:
    for name in EXPECTED:
        source = Source(CASES / name)
        assert [one.key for one in FORMATS if one.fits(source)] == [EXPECTED[name][0]]


def test_labels_from_means_nothing_for_most_formats(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mine\.csv: .*'verb'.*--label-from"):
        read(tmp_path / "mine.csv", "video,start,end,label\na,0,1,x\n", label_from="verb")


def test_point_events_are_refused_or_widened_by_the_option() -> None:
    file = read(CASES / "boris.csv")
    with pytest.raises(UserError, match=r'boris\.csv: 2 problem(.|\n)*line 3: "jump".*\b4\b(.|\n)*--point-seconds'):
        file.check()


def test_a_folder_is_all_its_files(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    read(tmp_path / "more/Diving_val.txt", "v1  1.5 2.5\nv2 0 1\n")
    read(tmp_path / "Ambiguous_test.txt", "v3 7 8\n")
    (tmp_path / "classes.txt").write_text("1 Diving\n")
    file = read(tmp_path)
    assert [(row.where, row.video, row.segment, row.label, row.subset) for row in file.rows] == [
        ("Ambiguous_test.txt, line 1", "v3", (7, 8), "Ambiguous", "test"),
        ("more/Diving_val.txt, line 1", "v1", (1.5, 2.5), "Diving", "val"),
        ("more/Diving_val.txt, line 2", "v2", (0, 1), "Diving", "val"),
    ]
    assert "THUMOS" in file.name
    assert any("classes.txt" in note for note in file.notes)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: a folder without annotation files"):
        read(tmp_path / "empty")


def test_real_thumos_lists_are_the_segments_of_the_release() -> None:
    """The release's JSON has the same test segments; its subset `validation` is THUMOS' test set."""
    file = read(real_file("annotations/thumos_official_txt"))
    content = json.loads(real_file("annotations/thumos_14_anno.json").read_text())["database"]
    released = {
        (video, *map(float, annotation["segment"]), annotation["label"])
        for video, entry in content.items()
        for annotation in entry["annotations"]
    }
    lists = {row for row in plain(file) if row[0] in content}
    assert len(lists & released) > 0.99 * len(released)
    assert {row.subset for row in file.rows} == {"test", "val"}


def test_real_gmdcsa24() -> None:
    """160 lines, three of which cannot be read; the classes of video 10 of subject 1 as its line has them."""
    file = read(real_file("gmdcsa24"))
    assert len(file.problems) == 3
    for place in (r"Subject_2_ADL\.csv, line 7", r"Subject_3_ADL\.csv, line 13", r"Subject_4_Fall\.csv, line 16"):
        assert any(re.match(place, problem) for problem in file.problems)
    own = [row for row in file.rows if row.video == "Subject_1_ADL_10.mp4"]
    assert [(row.segment, row.label) for row in own] == [((0, 2.5), "Reading"), ((0, 3), "Walking")]
    rest = file.without_spoilt()
    rest.check()
    assert len({row.video for row in rest.rows}) == 157
    assert not {"Subject_2_ADL_06.mp4", "Subject_3_ADL_12.mp4", "Subject_4_Fall_15.mp4"} & {r.video for r in rest.rows}
