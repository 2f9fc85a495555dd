"""The field's own annotation files: what is read, and which rows are refused."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from adatad_jax.config.fields import Config
from adatad_jax.data.subset import load_videos
from adatad_jax.errors import UserError
from tests.annotations.reading import plain, read
from tests.data.test_annotation_table import write_video

CHARADES = "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length\n"
EPIC = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame,"
    "narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n"
)


def test_charades_empty_and_wrong_actions(tmp_path: Path) -> None:
    text = CHARADES + 'A,S,K,6,7,Yes,"x, y",a;b,x,,30.5\nB,S,K,6,7,Yes,x,a,x,c001 1.00 2.50,10\n'
    file = read(tmp_path / "c.csv", text)
    assert plain(file) == [("A",), ("B", 1, 2.5, "c001")]
    assert file.lengths["A"].duration == 30.5
    with pytest.raises(UserError, match=r'2 problem(.|\n)*line 2: .*"c001 1\.00"(.|\n)*line 3: ends at 1'):
        read(tmp_path / "c.csv", CHARADES + "A,,,,,,,,,c001 1.00,9\nB,,,,,,,,,c002 2 1,9\n").check()


def epic_line(start: str, end: str, verb: str, verb_class: int, noun: str = "lid", noun_class: int = 8) -> str:
    return (
        f"P01_01_0,P01,P01_01,0,{start},{end},1,2,x,{verb},{verb_class},{noun},{noun_class},['{noun}'],[{noun_class}]\n"
    )


def test_epic_labels_by_verb_noun_or_both(tmp_path: Path) -> None:
    lines = epic_line("00:00:01.500", "00:01:04.250", "take", 0) + epic_line("00:02:00.00", "00:02:01.00", "take", 0)
    text = EPIC + lines + epic_line("01:02:03.50", "01:02:04.50", "get", 0, "pan:frying", 3)
    file = read(tmp_path / "e.csv", text)
    assert plain(file)[0] == ("P01_01", 1.5, 64.25, "take lid")
    assert plain(file)[2] == ("P01_01", 3723.5, 3724.5, "take pan:frying")  # "get" is the class of "take"
    assert any("1 verb classes" in note for note in file.notes)
    assert [row.label for row in read(tmp_path / "e.csv", label_from="verb").rows] == ["take"] * 3
    assert [row.label for row in read(tmp_path / "e.csv", label_from="noun").rows] == ["lid", "lid", "pan:frying"]
    (tmp_path / "EPIC_100_verb_classes.csv").write_text(
        "id,key,instances,category\n0,take,\"['take', 'get']\",retrieve\n"
    )
    assert not any("verb classes" in note for note in read(tmp_path / "e.csv", label_from="verb").notes)
    with pytest.raises(UserError, match=r"'adverb'.*action, verb, noun"):
        read(tmp_path / "e.csv", label_from="adverb")


def test_epic_wrong_times_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'line 2: start is "later"'):
        read(tmp_path / "e.csv", EPIC + epic_line("later", "00:00:04.25", "close", 4)).check()


def test_thumos_file_and_its_wrong_lines(tmp_path: Path) -> None:
    file = read(tmp_path / "CleanAndJerk_val.txt", "video_0161  11.3 14.1\r\nvideo_x 0.5 1\r\n")
    assert plain(file) == [
        ("video_0161", 11.3, 14.1, "CleanAndJerk"),
        ("video_x", 0.5, 1, "CleanAndJerk"),
    ]
    assert {row.subset for row in file.rows} == {"val"}
    with pytest.raises(UserError, match=r"line 2: ends at 1 .*2"):
        read(tmp_path / "Diving_test.txt", "v 1 2\nv 2 1\n").check()
    for line in ("v 4.5", "v 4.5 x"):
        file = read(tmp_path / "Diving_val.txt", f"v 1.5 3.2\n{line}\n")
        assert file.key == "thumos"
        with pytest.raises(UserError, match=r"1 problem.*\n.*line 2: "):
            file.check()


SOCCER: dict[str, Any] = {
    "UrlLocal": "england_epl/2014-2015/2015-02-21 - 18-00 Chelsea 1 - 1 Burnley/",
    "UrlYoutube": "",
    "annotations": [
        {"gameTime": "1 - 00:12", "label": "Kick-off", "position": "12340", "team": "home", "visibility": "visible"},
        {"gameTime": "2 - 45:01", "label": "Goal", "team": "away", "visibility": "visible"},
    ],
}


def test_soccernet_halves_are_videos_and_events_points(tmp_path: Path) -> None:
    path = tmp_path / "Labels-v2.json"
    with pytest.raises(UserError, match=r"3 problem(.|\n)*event 1(.|\n)*event 2(.|\n)*--point-seconds"):
        read(path, json.dumps(SOCCER)).check()
    match = "2015-02-21 - 18-00 Chelsea 1 - 1 Burnley"
    file = read(path, point_seconds=4.0)
    assert plain(file) == [(f"{match}_1", 12.34, 12.34, "Kick-off"), (f"{match}_2", 2701, 2701, "Goal")]
    assert file.aliases[f"{match}_2"][:2] == ("2_224p", "2_720p")
    broken = {**SOCCER, "annotations": [*SOCCER["annotations"], {"gameTime": "half", "label": "x"}]}
    with pytest.raises(UserError, match=r'event 3: .*"half".*HALF - MM:SS'):
        read(path, json.dumps(broken), point_seconds=4.0).check()


GMDCSA24 = "File Name,Length (seconds),Time of Recording,Attire,Description, Classes\n"


@pytest.mark.parametrize(
    ("classes", "rows", "mended"),
    [
        (" Sitting[0 to 1]; Sleeping[2 to 8]", [(0, 1, "Sitting"), (2, 8, "Sleeping")], False),
        ("Walking[5 to 7]; ", [(5, 7, "Walking")], False),
        ("Standing[3.3 to 5];Walking[5 to 7]", [(3.3, 5, "Standing"), (5, 7, "Walking")], False),
        ("Falling (SW) [ 2.8 to 6]; Sitting [0 to 2.9]", [(2.8, 6, "Falling (SW)"), (0, 2.9, "Sitting")], False),
        ("Walking[0 to 1; 2 to 3]", [(0, 1, "Walking"), (2, 3, "Walking")], False),
        ("Falling (SW)[1.8 to 5]:; Walking[0 to 1.8]", [(1.8, 5, "Falling (SW)"), (0, 1.8, "Walking")], True),
        ("Eating[0.9 4.6]", [(0.9, 4.6, "Eating")], True),
        ("Falling (BW[5.9 to 10]", [(5.9, 10, "Falling (BW)")], True),
        (
            "Standing[2.4 to 3.6; 6.6 to 7.9; Walking[3.6 to 5.2; 7.9 to 9.2] ",
            [(2.4, 3.6, "Standing"), (6.6, 7.9, "Standing"), (3.6, 5.2, "Walking"), (7.9, 9.2, "Walking")],
            True,
        ),
    ],
)
def test_gmdcsa24(classes: str, rows: list[Any], mended: bool, tmp_path: Path) -> None:
    text = f"{GMDCSA24}01.mp4,08, Day, Shirt, Sitting on the bed, then sleeping, {classes}\n"
    file = read(tmp_path / "Subject_1_ADL.csv", text)
    assert plain(file) == [("Subject_1_ADL_01.mp4", *row) for row in rows]
    assert "01.mp4" in file.aliases["Subject_1_ADL_01.mp4"]
    assert bool(file.notes) is mended


@pytest.mark.parametrize("classes", ["Reading; Sitting[0 to 1]", "Sitting[soon]", "Sitting[0 to 1] and on", "Sitting"])
def test_gmdcsa24_lines_that_cannot_be_read_are_named(classes: str, tmp_path: Path) -> None:
    text = f"{GMDCSA24}01.mp4,08,Day,Shirt,x,Standing[0 to 1]\n02.mp4,08,Day,Shirt,x,{classes}\n"
    file = read(tmp_path / "ADL.csv", text)
    with pytest.raises(UserError, match=r"1 problem(.|\n)*line 3: .*START to END"):
        file.check()
    assert plain(file.without_spoilt()) == [("ADL_01.mp4", 0, 1, "Standing")]


HACS = {
    "database": {
        "a": {
            "annotations": [{"label": "jump", "segment": [0.5, 1.5]}],
            "subset": "training",
            "duration": "2.0",
            "url": "",
        },
        "b": {"annotations": [], "subset": "testing", "duration": "3.0", "url": ""},
    }
}


def test_what_json_lacks_is_that_of_the_files(tmp_path: Path) -> None:
    """HACS gives no frame count and no rate; the files have 50 and 36 frames, at 25 and 12."""
    write_video(tmp_path / "v_a.mp4", 50, Fraction(25))
    write_video(tmp_path / "v_b.mp4", 36, Fraction(12))
    path = tmp_path / "hacs.json"
    path.write_text(json.dumps(HACS))
    assert read(path).name == "HACS JSON"
    fields = {"data.annotations": str(path), "data.videos": str(tmp_path), "data.video_prefix": "v_"}
    loaded = load_videos(Config().with_fields(fields))
    assert {name: (video.duration, video.frames) for name, video in loaded.items()} == {"a": (2, 50), "b": (3, 36)}
    del HACS["database"]["a"]["duration"]
    path.write_text(json.dumps(HACS))
    assert load_videos(Config().with_fields(fields))["a"].duration == pytest.approx(2)
    (tmp_path / "v_b.mp4").unlink()
    with pytest.raises(UserError, match=r"hacs\.json: .*lengths of 2 videos(.|\n)*/v_b"):
        load_videos(Config().with_fields(fields))


def test_fineaction_is_named(tmp_path: Path) -> None:
    entry = {"filename": "v_00000001.mp4", "subset": "validation", "duration": 9.5, "fps": 25, "annotations": []}
    content = {"version": "FineAction", "database": {"v_00000001": entry}}
    assert read(tmp_path / "annotations_gt.json", json.dumps(content)).name == "FineAction JSON"
