"""Exports of labelling tools, written as the tools write them: what is read, and which rows are refused."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adatad_jax.annotations.records import Length, Unit, in_seconds
from adatad_jax.errors import UserError
from tests.annotations.reading import plain, read

# ---- Plain tables.


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("video;start;end;label\na.mp4;1,5;3,25;jump\n", [("a.mp4", 1.5, 3.25, "jump")]),
        ("sep=;\nvideo;start;end;label\na;0;1;x\n", [("a", 0, 1, "x")]),
        ("video\tstart\tend\tlabel\na\t0:01\t1:02:03,5\tx\n", [("a", 1, 3723.5, "x")]),
        ('label,video,end,start\n"run, fast","a;b.mp4","0:02,5",1\n', [("a;b.mp4", 1, 2.5, "run, fast")]),
        ('"video","start","end","label"\n"a","0","1","x"\n', [("a", 0, 1, "x")]),
        ("Video;Start;End;Label;note\n;;;;\na;;;;\n", [("a",)]),
        ("video,start,end,label,score\na,0,1,x,0.5\n", [("a", 0, 1, "x")]),
    ],
)
def test_tables(text: str, rows: list[Any], tmp_path: Path) -> None:
    assert plain(read(tmp_path / "t.csv", text)) == rows


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("video,start,end,label\na,0,1:75,x\n", r'line 2: end is "1:75"'),
        ("video,start,end,label\na,0,00:00:01:12,x\n", r'line 2: end is "00:00:01:12"'),
        ('video,start,end,label\na,0,"1,234",x\n', r'line 2: "1,234" may be'),
        ("video;start;end;label\na;0,5;1;x\nb;0.5;1;x\n", r'line 2 with ",", line 3 with "."'),
        ("video;start;end;label\na;0;1\n", r"line 2: 3 values, expected 4"),
        ("video,start,end,label\na,-1,1,x\n", r"line 2: starts at -1"),
        ("video,start,end,label\na,0:05,0:02,x\n", r"line 2: ends at 0:02 .*0:05"),
        ("video,start,end,label\na,1,1,x\n", r"line 2: .*point event"),
    ],
)
def test_wrong_lines_of_tables(lines: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"(?s)t\.csv.*{told}"):
        read(tmp_path / "t.csv", lines).check()


# ---- BORIS.

BORIS8 = (
    "Observation id\tObservation date\tDescription\tObservation type\tSource\tTime offset (s)\tCoding duration\t"
    "Media duration (s)\tFPS (frame/s)\tSubject\tObservation duration by subject by observation\tBehavior\t"
    "Behavioral category\tModifier #1\tBehavior type\tStart (s)\tStop (s)\tDuration (s)\tMedia file name\t"
    "Image index start\tImage index stop\tImage file path start\tImage file path stop\tComment start\tComment stop\n"
)


def boris8(*events: tuple[str, ...]) -> str:
    """Lines of BORIS 8: (behaviour, type, start, stop, media file)."""
    line = "obs\t2024-01-01\t\tMedia file(s)\tplayer #1:{4}\t0\t60\t60.0\t25.0\tme\t60\t{0}\t\t\t{1}\t{2}\t{3}\tNA"
    return BORIS8 + "".join(f"{line.format(*event)}\t{event[4]}\t1\t2\t\t\t\t\n" for event in events)


def test_boris_8_with_tabs_and_points(tmp_path: Path) -> None:
    text = boris8(("groom", "STATE", "1.5", "3.25", "v/a.mp4"), ("jump", "POINT", "4.0", "NA", "v/a.mp4"))
    file = read(tmp_path / "b.tsv", text, point_seconds=0.5)
    assert plain(file) == [("v/a.mp4", 1.5, 3.25, "groom"), ("v/a.mp4", 4, 4, "jump")]
    assert in_seconds(file.rows[1], Length(), file.point_seconds) == (3.75, 4.25)
    assert file.lengths["v/a.mp4"][:1] == (60.0,)
    assert file.lengths["v/a.mp4"].fps == 25


def test_boris_observations_without_events_and_states_that_never_stop(tmp_path: Path) -> None:
    assert plain(read(tmp_path / "b.tsv", boris8(("", "", "", "", "a.mp4")))) == [("a.mp4",)]
    with pytest.raises(UserError, match=r'line 2: end is "NA"'):
        read(tmp_path / "c.tsv", boris8(("groom", "STATE", "1.5", "NA", "a.mp4"))).check()
    with pytest.raises(UserError, match=r"line 2: .*several media files.*a\.mp4;b\.mp4"):
        read(tmp_path / "d.tsv", boris8(("groom", "STATE", "1.5", "2", "a.mp4;b.mp4"))).check()
    with pytest.raises(UserError, match=r"line 2: no media file"):
        read(tmp_path / "e.tsv", boris8(("groom", "STATE", "1.5", "2", "")).replace("player #1:", "")).check()


def test_boris_sources_and_offsets_that_move_the_times_are_refused(tmp_path: Path) -> None:
    text = boris8(("groom", "STATE", "1.5", "2", "a.mp4"))
    with pytest.raises(UserError, match=r"line 2: .*several media files.*a\.mp4;b\.mp4"):
        read(tmp_path / "a.tsv", text.replace("player #1:a.mp4", "player #1:a.mp4;player #1:b.mp4")).check()
    with pytest.raises(UserError, match=r"line 2: .*offset.* 5\.0 s"):
        read(tmp_path / "b.tsv", text.replace("a.mp4\t0\t", "a.mp4\t5.0\t")).check()


@pytest.mark.parametrize("column", ["Subject", "Behavior", "Behavior type", "Start (s)", "Stop (s)", "Comment stop"])
def test_a_boris_line_that_is_cut_off_is_named(column: str, tmp_path: Path) -> None:
    event = ("groom", "STATE", "1.5", "2", "a.mp4")
    whole = boris8(event)
    cut = "\t".join(whole.splitlines()[1].split("\t")[: BORIS8.strip().split("\t").index(column)])
    with pytest.raises(UserError, match=r"1 problem.*\n.*line 3: .*cut off"):
        read(tmp_path / "c.tsv", f"{whole}{cut}\n").check()
    lines = [EVENTS.strip(), "1\ta.mp4\t60\t25\tx\tgroom\t\t\tPOINT", "2\ta.mp4\t60"]
    with pytest.raises(UserError, match=r"1 problem.*\n.*line 3: .*cut off"):
        read(tmp_path / "e.tsv", "\n".join(lines), point_seconds=1.0).check()


EVENTS = "Time\tMedia file path\tTotal length\tFPS\tSubject\tBehavior\tBehavioral category\tComment\tStatus\n"


def test_boris_events_are_paired(tmp_path: Path) -> None:
    head = "Observation id\tobs1\n\nMedia file(s)\n\nPlayer #1\t/data/a.mp4\n\n"
    lines = "1.5\ta.mp4\t60\t25\t{}\tgroom\t\t\tSTART\n"
    text = head + EVENTS + lines.format("x") + lines.format("y").replace("1.5", "2.0")
    text += "3.0\ta.mp4\t60\t25\tx\tgroom\t\t\tSTOP\n4.0\ta.mp4\t60\t25\ty\tgroom\t\t\tSTOP\n"
    file = read(tmp_path / "e.tsv", text)
    assert (file.key, plain(file)) == ("boris-events", [("a.mp4", 1.5, 3, "groom"), ("a.mp4", 2, 4, "groom")])
    assert file.rows[0].where == "line 8 to line 10"
    with pytest.raises(UserError, match=r'2 problem(.|\n)*line 3: "groom" stops(.|\n)*line 2: "sleep".*never stops'):
        read(
            tmp_path / "f.tsv",
            EVENTS + "1\ta.mp4\t60\t25\tx\tsleep\t\t\tSTART\n2\ta.mp4\t60\t25\tx\tgroom\t\t\tSTOP\n",
        ).check()


# ---- VIA 3.

ATTRIBUTE = {
    "1": {"aname": "TEMPORAL-SEGMENTS", "anchor_id": "FILE1_Z2_XY0", "type": 4, "options": {"0": "jump", "1": "sit"}},
    "2": {"aname": "note", "anchor_id": "FILE1_Z2_XY0", "type": 1, "options": {"default": "Default"}},
}


def via_csv(*rows: tuple[Any, ...]) -> str:
    text = io.StringIO()
    text.write("# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)\n")
    text.write(f"# ATTRIBUTE = {json.dumps(ATTRIBUTE)}\n")
    text.write("# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata\n")
    for number, (files, times, shape, values) in enumerate(rows):
        csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(
            (f"1_{number}", json.dumps(files), 0, json.dumps(times), json.dumps(shape), json.dumps(values))
        )
    return text.getvalue()


def test_via_csv_options_are_their_texts_and_shapes_are_counted(tmp_path: Path) -> None:
    text = via_csv((["a.mp4"], [1.5, 3.25], [], {"1": "1"}), (["a.mp4"], [2.0], [2, 1, 1, 5, 5], {"1": "0"}))
    file = read(tmp_path / "v.csv", text)
    assert plain(file) == [("a.mp4", 1.5, 3.25, "sit")]
    assert any("1 shapes" in note for note in file.notes)
    with pytest.raises(UserError, match=r'line 4: "jump".*point event'):
        read(tmp_path / "p.csv", via_csv((["a.mp4"], [2.0], [], {"1": "0"}))).check()


def test_via_several_attributes_need_the_option(tmp_path: Path) -> None:
    text = via_csv((["a.mp4"], [1.5, 3.25], [], {"1": "1", "2": "left"}))
    with pytest.raises(UserError, match=r'v\.csv.*1 \("TEMPORAL-SEGMENTS"\), 2 \("note"\).*--label-from'):
        read(tmp_path / "v.csv", text)
    for choice in ("1", "TEMPORAL-SEGMENTS"):
        assert plain(read(tmp_path / "v.csv", label_from=choice)) == [("a.mp4", 1.5, 3.25, "sit")]
    assert plain(read(tmp_path / "v.csv", label_from="note")) == [("a.mp4", 1.5, 3.25, "left")]
    with pytest.raises(UserError, match=r"'mood'.*TEMPORAL-SEGMENTS"):
        read(tmp_path / "v.csv", label_from="mood")


def test_via_wrong_lines_are_named(tmp_path: Path) -> None:
    text = via_csv((["a.mp4"], [3.25, 1.5], [], {"1": "1"}), (["a.mp4"], [1, 2, 3], [], {"1": "1"}))
    with pytest.raises(
        UserError, match=r"3 problem(.|\n)*line 6: oops(.|\n)*line 4: ends at 1\.5(.|\n)*line 5: .*1, 2, 3"
    ):
        read(tmp_path / "v.csv", text + "oops,x\n").check()


def test_via_project(tmp_path: Path) -> None:
    project = {
        "project": {"pid": "__VIA_PROJECT_ID__", "pname": "mine", "data_format_version": "3.1.1"},
        "config": {},
        "attribute": {"1": ATTRIBUTE["1"]},
        "file": {
            "1": {"fid": "1", "fname": "a.mp4", "type": 4, "loc": 1, "src": ""},
            "2": {"fid": "2", "fname": "b.mp4", "type": 4, "loc": 1, "src": ""},
        },
        "view": {"1": {"fid_list": ["1"]}, "2": {"fid_list": ["2"]}},
        "metadata": {"1_x": {"vid": "1", "flg": 0, "z": [1.5, 3.25], "xy": [], "av": {"1": "0"}}},
    }
    file = read(tmp_path / "p.json", json.dumps(project))
    assert (file.key, plain(file)) == ("via", [("a.mp4", 1.5, 3.25, "jump"), ("b.mp4",)])
    project["metadata"]["1_y"] = {"vid": "1", "z": [0, 1]}
    with pytest.raises(UserError, match=r'metadata "1_y": .*\bz\b.*\bxy\b.*\bav\b'):
        read(tmp_path / "p.json", json.dumps(project)).check()


VIA_EXPORT = """\
# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)
# SHAPE_ID = {"POINT":1,"RECTANGLE":2,"CIRCLE":3}
# FLAG_ID = {"x":1}
# ATTRIBUTE = {"1":{"aname":"act","anchor_id":"FILE1_Z2_XY0","type":4,"options":{"0":"jump","1":"run"}}}
# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata
"1_a","[""a.mp4""]",0,"[1.124,5.31493]","[]","{""1"":""0""}"
"""


def test_via_csv_as_exported_has_json_in_its_comments(tmp_path: Path) -> None:
    file = read(tmp_path / "v.csv", VIA_EXPORT)
    assert (file.key, plain(file), file.rows[0].where) == ("via-csv", [("a.mp4", 1.124, 5.31493, "jump")], "line 6")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('{""1"":""0""}', '{""1"":""7""}', r'line 6: .*"7".*0 \(jump\), 1 \(run\)'),
        ('{""1"":""0""}', '{""1"":[""0""]}', r'line 6: attribute 1 is \["0"\]'),
        ('[""a.mp4""]', '[""a.mp4"",""b.mp4""]', r"line 6: .*several files \(a\.mp4, b\.mp4\)"),
    ],
)
def test_via_values_and_files_that_are_refused(old: str, new: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"(?s)v\.csv.*{told}"):
        read(tmp_path / "v.csv", VIA_EXPORT.replace(old, new)).check()


@pytest.mark.parametrize(
    ("part", "value", "told"),
    [
        ("file", "x", r'file "1" is "x"'),
        ("view", [], r'view "1" is \[\].*fid_list'),
        ("view", {"fid_list": None}, r'view "1" is .*null.*fid_list'),
        ("view", {"fid_list": ["1", "2"]}, r"several files \(a\.mp4, b\.mp4\)"),
        ("metadata", {"vid": "1", "z": [1, 2], "xy": [], "av": "x"}, r'metadata "1": .*"x"'),
        ("metadata", {"vid": "1", "z": "12", "xy": [], "av": {"1": "0"}}, r'metadata "1": .*"12"'),
        ("metadata", {"vid": "1", "z": [1, 2], "xy": [], "av": {"1": ["0"]}}, r'metadata "1": .*\["0"\]'),
    ],
)
def test_wrong_types_in_a_via_project_are_named(part: str, value: Any, told: str, tmp_path: Path) -> None:
    project: dict[str, Any] = {
        "project": {},
        "attribute": {"1": ATTRIBUTE["1"]},
        "file": {"1": {"fname": "a.mp4"}, "2": {"fname": "b.mp4"}},
        "view": {"1": {"fid_list": ["1"]}},
        "metadata": {"1": {"vid": "1", "z": [1, 2], "xy": [], "av": {"1": "0"}}},
    }
    project[part]["1"] = value
    with pytest.raises(UserError, match=rf"(?s)p\.json.*{told}"):
        read(tmp_path / "p.json", json.dumps(project)).check()


# ---- Label Studio.


def region(start: Any, end: Any, *labels: str) -> dict[str, Any]:
    value = {"ranges": [{"start": start, "end": end}], "timelinelabels": list(labels)}
    return {"id": "x", "type": "timelinelabels", "value": value, "from_name": "videoLabels", "to_name": "video"}


def task(number: int, video: str, *annotations: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": number, "data": {"video": video, **more}, "annotations": list(annotations)}


def test_label_studio_skipped_several_and_missing_annotations(tmp_path: Path) -> None:
    tasks = [
        task(1, "a.mp4", {"id": 1, "was_cancelled": True, "result": [region(1, 2, "x")]}),
        task(
            2,
            "b.mp4",
            {"id": 2, "updated_at": "2024-01-02T00:00:00Z", "result": [region(10, 20, "old")]},
            {"id": 3, "updated_at": "2024-03-02T00:00:00Z", "result": [region(30, 90, "jump", "high")]},
        ),
        task(
            3,
            "c.mp4",
            {"id": 4, "ground_truth": True, "result": [region(5, 6, "truth")]},
            {"id": 5, "result": [region(7, 8, "no")]},
        ),
        task(4, "d.mp4"),
        task(5, "e.mp4", {"id": 6, "result": []}),
        task(6, "f.mp4", {"id": 7, "result": [{"type": "choices", "value": {"choices": ["good"]}}]}),
    ]
    file = read(tmp_path / "ls.json", json.dumps(tasks))
    assert plain(file) == [
        ("b.mp4", 30, 90, "jump"),
        ("b.mp4", 30, 90, "high"),
        ("c.mp4", 5, 6, "truth"),
        ("e.mp4",),
        ("f.mp4",),
    ]
    assert all(row.unit is Unit.STEPS for row in file.rows if row.segment)
    notes = "\n".join(file.notes)
    assert "2 tasks have several annotations" in notes
    assert "task 2, task 3" in notes
    assert "2 tasks are skipped or not annotated" in notes
    assert "1 regions" in notes


def test_label_studio_rates_times_and_boxes(tmp_path: Path) -> None:
    times = {"type": "labels", "value": {"start": 1.5, "end": 3.25, "channel": 0, "labels": ["talk"]}}
    box = {
        "type": "videorectangle",
        "value": {
            "framesCount": 100,
            "duration": 4.0,
            "sequence": [
                {"frame": 10, "enabled": True, "time": 0.4},
                {"frame": 20, "enabled": False, "time": 0.8},
                {"frame": 50, "enabled": True, "time": 2.0},
            ],
            "labels": ["person"],
        },
    }
    tasks = [task(1, "a.mp4", {"result": [times, box]}), task(2, "b.mp4", {"result": [region(30, 90, "jump")]}, fps=30)]
    file = read(tmp_path / "ls.json", json.dumps(tasks))
    assert [row.segment for row in file.rows] == [(1.5, 3.25), (10, 20), (50, 100), (30, 90)]
    seconds = [in_seconds(row, file.lengths[row.video], 0) for row in file.rows]
    assert seconds == [(1.5, 3.25), (0.4, 0.8), (2, 4), (1, 3)]


def test_label_studio_min_and_csv(tmp_path: Path) -> None:
    labels = [{"ranges": [{"start": 30, "end": 90}], "timelinelabels": ["jump"]}]
    item = {
        "id": 1,
        "video": "/data/upload/1/ab12cd34-a.mp4",
        "videoLabels": labels,
        "annotator": 1,
        "annotation_id": 7,
    }
    file = read(tmp_path / "min.json", json.dumps([item]))
    assert (file.key, plain(file)) == ("label-studio-min", [("/data/upload/1/ab12cd34-a.mp4", 30, 90, "jump")])
    text = io.StringIO()
    writer = csv.DictWriter(text, [*item, "created_at"])
    writer.writeheader()
    writer.writerow({**item, "videoLabels": json.dumps(labels), "created_at": "2024"})
    file = read(tmp_path / "ls.csv", text.getvalue())
    assert (file.key, plain(file)) == ("label-studio-csv", [("/data/upload/1/ab12cd34-a.mp4", 30, 90, "jump")])


def test_label_studio_wrong_regions_are_named(tmp_path: Path) -> None:
    tasks = [
        task(8, "a.mp4", {"result": [region(90, 30, "jump"), region("x", 5, "jump"), region(1, 2)]}),
        {"id": 9, "data": {"text": "hello"}, "annotations": []},
    ]
    with pytest.raises(
        UserError, match=r"4 problem(.|\n)*task 8: ends at 30(.|\n)*\"x\"(.|\n)*label(.|\n)*task 9: no file"
    ):
        read(tmp_path / "ls.json", json.dumps(tasks)).check()


# ---- CVAT.


def cvat(body: str, step: str = "") -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta><task><id>7</id>'
        "<name>my task</name><size>100</size><mode>interpolation</mode><start_frame>0</start_frame>"
        f"<stop_frame>99</stop_frame><frame_filter>{step}</frame_filter><source>a.mp4</source></task></meta>"
        f"{body}</annotations>"
    )


def boxes(*shapes: tuple[int, int]) -> str:
    return "".join(f'<box frame="{frame}" outside="{outside}" keyframe="1" xtl="1"/>' for frame, outside in shapes)


def test_cvat_tracks(tmp_path: Path) -> None:
    body = (
        f'<track id="0" label="jump" source="manual">{boxes((10, 0), (20, 0), (30, 1), (50, 0), (60, 1))}</track>'
        f'<track id="1" label="sit" source="manual">{boxes((40, 0))}</track>'
    )
    file = read(tmp_path / "annotations.xml", cvat(body))
    rows = [("a.mp4", 10, 30, "jump"), ("a.mp4", 50, 60, "jump"), ("a.mp4", 40, 100, "sit")]
    assert (file.key, plain(file)) == ("cvat", rows)
    assert all(row.unit is Unit.FRAMES for row in file.rows)


def test_frames_are_at_their_times_in_a_video_of_variable_rate(tmp_path: Path) -> None:
    """Frames at 0, 0.1, 0.2, 1.2 s; the last ends at 2.2 s."""
    file = read(tmp_path / "annotations.xml", cvat(f'<track id="0" label="x">{boxes((1, 0), (3, 1))}</track>'))
    length = Length(2.2, 4, 4 / 2.2, np.array([0, 0.1, 0.2, 1.2, 2.2]))
    assert in_seconds(file.rows[0], length, 0) == (0.1, 1.2)
    assert in_seconds(file.rows[0], Length(fps=10), 0) == (0.1, 0.3)
    with pytest.raises(ValueError, match=r"frame 3\b.* 2 frames"):
        in_seconds(file.rows[0], Length(0.2, 2, 10, np.array([0, 0.1, 0.2])), 0)


@pytest.mark.parametrize(("step", "frames", "rows"), [("", 1, (3, 6)), ("step=5", 5, (15, 30))])
def test_cvat_tags_of_frames(step: str, frames: int, rows: tuple[int, int], tmp_path: Path) -> None:
    images = "".join(
        f'<image id="{k}" name="frame_{k * frames:06d}" width="8"><tag label="jump" source="manual"/></image>'
        for k in (3, 4, 5)
    )
    bare = f'<image id="9" name="frame_{9 * frames:06d}" width="8" height="8"></image>'
    file = read(tmp_path / "annotations.xml", cvat(images + bare, step))
    assert plain(file) == [("a.mp4", *rows, "jump")]
    alone = f'<image id="9" name="frame_{9 * frames:06d}"><tag label="jump"/></image>'
    with pytest.raises(UserError, match=rf'tag "jump" from frame {9 * frames}.*point event'):
        read(tmp_path / "alone.xml", cvat(alone, step)).check()


def test_cvat_projects_empty_tasks_and_wrong_frames(tmp_path: Path) -> None:
    tasks = "".join(
        f"<task><id>{k}</id><size>50</size><source>{v}</source></task>" for k, v in ((1, "a.mp4"), (2, "b.mp4"))
    )
    track = f'<track id="0" label="jump" task_id="2">{boxes((1, 0), (9, 1))}</track>'
    text = f"<annotations><meta><project><tasks>{tasks}</tasks></project></meta>{track}</annotations>"
    assert plain(read(tmp_path / "p.xml", text)) == [("b.mp4", 1, 9, "jump"), ("a.mp4",)]
    assert plain(read(tmp_path / "e.xml", cvat(""))) == [("a.mp4",)]
    with pytest.raises(UserError, match=r'track 0: .*"one"'):
        read(
            tmp_path / "w.xml", cvat(f'<track id="0" label="x">{boxes((1, 0))}</track>'.replace('"1" out', '"one" out'))
        ).check()
