"""Files that are cut short, damaged or of an odd form: each is named, and none becomes videos without segments."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from adatad_jax.annotations.records import Length, in_seconds
from adatad_jax.errors import UserError
from tests.annotations.reading import plain, read
from tests.annotations.test_data_sets import CHARADES, EPIC, GMDCSA24, SOCCER, epic_line
from tests.annotations.test_tools import cvat, region, task

LABEL_STUDIO = "annotation_id,annotator,id,video,label\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{CHARADES}A,,,,,,,,,c001 1 2,9\nB\n", r"line 3: 1 values, expected 11"),
        (f"{GMDCSA24}01.mp4,8,Day,x,y,A[0 to 1]\n02.mp4\n", r"line 3: 1 values, expected 6"),
        (f"{LABEL_STUDIO}2,1,8,b.mp4\n", r"line 2: 4 values, expected 5"),
        (EPIC + epic_line("0:01", "0:02", "take, up", 1), r"line 2: 16 values, expected 15"),
        (
            LABEL_STUDIO + '1,1,8,b.mp4,"[{""start"": 1, ""end"": 2, ""lab"\n',
            r'line 2: the column "label" .*cut short',
        ),
    ],
)
def test_lines_cut_short_are_named(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"(?s)x\.csv.*{told}"):
        read(tmp_path / "x.csv", text).check()


def test_a_text_in_brackets_is_no_json_and_empty_values_at_the_end_do_not_count(tmp_path: Path) -> None:
    text = io.StringIO()
    regions = json.dumps([{"start": 1, "end": 2, "labels": ["jump"]}])
    csv.writer(text).writerows([("annotation_id", "annotator", "video", "label", "note")])
    csv.writer(text).writerows([(1, 1, "a.mp4", regions, "[unsure] left", "", "")])
    assert plain(read(tmp_path / "x.csv", text.getvalue())) == [("a.mp4", 1, 2, "jump")]


SEQUENCE = {"value": {"sequence": [{"frame": 1}, None], "labels": ["x"], "framesCount": 9}}


@pytest.mark.parametrize(
    ("annotations", "told"),
    [
        ([{"result": "x"}], r'task 3: "result" holds "x"'),
        ([{"result": 5}], r'task 3: "result" holds 5'),
        ([{"result": [region(1, 2, "x"), 7]}], r'task 3: "result" holds 7'),
        ([None], r'task 3: "annotations" holds null'),
        ("none", r'task 3: "annotations" holds "none"'),
        ([{"result": [SEQUENCE]}], r'task 3: "sequence" holds null'),
        ([{"result": [{"value": {"ranges": [None], "timelinelabels": ["x"]}}]}], r'task 3: "ranges" holds null'),
    ],
)
def test_damaged_tasks_of_label_studio_are_named(annotations: Any, told: str, tmp_path: Path) -> None:
    tasks = [task(2, "a.mp4", {"result": [region(1, 2, "x")]}), {**task(3, "b.mp4"), "annotations": annotations}]
    file = read(tmp_path / "ls.json", json.dumps(tasks))
    with pytest.raises(UserError, match=rf"(?s)1 problem.*{told}"):
        file.check()
    assert [row.video for row in file.without_spoilt().rows] == ["a.mp4"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("more.json", '{"database": {"v": {"sub', r"more\.json: not a whole JSON"),
        ("more.txt", '{"database": {"v": {"sub', r"more\.txt: not a whole JSON"),
        ("Jump.txt", "v1 1 2\nv2 3 4\nv3 5\n", r"Jump\.txt, line 3"),
        ("Jump_val.txt", "v3 5\n", r"Jump_val\.txt: named like Diving_val\.txt"),
        ("more.xml", "<annotations><meta>", r"more\.xml: not whole XML"),
    ],
)
def test_damaged_files_of_a_folder_are_not_left_alone(name: str, content: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "Diving_val.txt").write_text("v1 1.5 2.5\n")
    (tmp_path / "classes.txt").write_text("7 Diving\n")
    (tmp_path / "package.json").write_text('{"name": "mine"}')
    file = read(tmp_path)
    assert any("classes.txt, package.json" in note for note in file.notes)
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=rf"(?s){told}"):
        read(tmp_path).check()


@pytest.mark.parametrize(("url", "match"), [("x/m1/720p.mp4", "m1"), ("x/m2/1_HQ.MKV", "m2"), ("x/m3/", "m3")])
def test_soccernet_matches_by_the_folder_of_any_video(url: str, match: str, tmp_path: Path) -> None:
    file = read(tmp_path / "Labels-v2.json", json.dumps({**SOCCER, "UrlLocal": url}), point_seconds=1.0)
    assert [row.video for row in file.rows] == [f"{match}_1", f"{match}_2"]


def test_xml_in_the_encoding_that_it_declares(tmp_path: Path) -> None:
    track = '<track id="0" label="préparer"><box frame="1" outside="0"/><box frame="3" outside="1"/></track>'
    text = cvat(track).replace('encoding="utf-8"', 'encoding="iso-8859-1"')
    assert plain(read(tmp_path / "a.xml", text.encode("iso-8859-1"))) == [("a.mp4", 1, 3, "préparer")]
    with pytest.raises(UserError, match=r"a\.xml: not UTF-8"):
        read(tmp_path / "a.xml", text.replace("iso-8859-1", "base64").encode("iso-8859-1"))


def test_entities_that_grow_are_refused(tmp_path: Path) -> None:
    entities = '<!ENTITY a0 "xxxxxxxxxx">'
    entities += "".join(f'<!ENTITY a{k} "{f"&a{k - 1};" * 10}">' for k in range(1, 10))
    text = f'<?xml version="1.0" encoding="iso-8859-1"?><!DOCTYPE b [{entities}]><annotations>&a9;</annotations>'
    with pytest.raises(UserError, match=r"bomb\.xml: not whole XML"):
        read(tmp_path / "bomb.xml", text)


def test_point_events_of_a_database_are_widened_on_demand(tmp_path: Path) -> None:
    annotations = [{"segment": segment, "label": "x"} for segment in ([2, 2], [4, 5])]
    entry = {"subset": "training", "duration": 9, "annotations": annotations}
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"database": {"v": entry}}))
    file = read(path, point_seconds=1.0)
    assert in_seconds(file.rows[0], Length(), file.point_seconds) == (1.5, 2.5)
    assert plain(read(path)) == [("v", 4, 5, "x")]
