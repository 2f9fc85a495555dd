"""What the converter refuses, counts and says: names, duplicates, lengths, labels, paths."""

import json
from pathlib import Path
from typing import Any

import pytest

from adatad_jax.annotations.__main__ import main
from adatad_jax.errors import UserError
from tests.annotations.reading import plain, read
from tests.annotations.test_tools import boris8, cvat

HEADER = "video,start,end,label\n"


def convert(*arguments: object) -> None:
    main([str(argument) for argument in arguments])


def database(*segments: list[float]) -> str:
    annotations = [{"segment": segment, "label": "x"} for segment in segments]
    return json.dumps({"database": {"v": {"subset": "training", "duration": 9, "annotations": annotations}}})


def test_two_kinds_of_files_with_one_name_are_refused(tmp_path: Path) -> None:
    path, output = tmp_path / "m.csv", tmp_path / "o.csv"
    path.write_text(f"{HEADER}a.mp4,1,2,x\na.mov,3,4,y\n")
    with pytest.raises(UserError, match=r'"a" .*a\.mp4, a\.mov'):
        convert(path, "--output", output)
    path.write_text(f"{HEADER}a.mp4,1,2,x\na,3,4,y\n")
    convert(path, "--output", output)
    assert len(plain(read(output))) == 2


def test_files_of_several_folders_with_one_name_are_refused(tmp_path: Path) -> None:
    for name, video in (("1.csv", "d1/a.mp4"), ("2.csv", "d2/a.mp4"), ("3.csv", "a.mp4")):
        (tmp_path / name).write_text(f"{HEADER}{video},1,2,x\n")
    with pytest.raises(UserError, match=r"d1/a\.mp4, d2/a\.mp4"):
        convert(tmp_path / "1.csv", tmp_path / "2.csv", "--output", tmp_path / "o.csv")
    convert(tmp_path / "1.csv", tmp_path / "3.csv", "--output", tmp_path / "o.csv")
    assert plain(read(tmp_path / "o.csv")) == [("a.mp4", 1, 2, "x")]


@pytest.mark.parametrize("whole_folder", [False, True])
def test_segments_of_several_files_are_counted_and_written_once(
    whole_folder: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "1.csv").write_text(f"{HEADER}a.mp4,1,2,x\na.mp4,3,4,x\nb.mp4,1,2,x\n")
    (folder / "2.csv").write_text(f"{HEADER}a.mp4,1,2,x\nb.mp4,1,2,x\nb.mp4,1,2,y\n")
    files = [folder] if whole_folder else [folder / "1.csv", folder / "2.csv"]
    convert(*files, "--output", tmp_path / "o.csv")
    assert "2 segments are in several of the files" in capsys.readouterr().out
    rows = [("a.mp4", 1, 2, "x"), ("a.mp4", 3, 4, "x"), ("b.mp4", 1, 2, "x"), ("b.mp4", 1, 2, "y")]
    assert plain(read(tmp_path / "o.csv")) == rows


def test_segments_outside_the_told_length_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text(database([-1, 2], [3, 12.5], [4, 9]))
    convert(tmp_path / "a.json", "--output", tmp_path / "o.csv")
    said = capsys.readouterr().out
    assert "1 segments start before" in said
    assert "1 segments end after" in said
    assert [row[1:3] for row in plain(read(tmp_path / "o.csv"))] == [(0, 2), (3, 12.5), (4, 9)]
    (tmp_path / "b.tsv").write_text(boris8(("groom", "STATE", "1.5", "75", "a.mp4")))  # of 60 seconds
    convert(tmp_path / "b.tsv", "--output", tmp_path / "b.csv")
    assert "1 segments end after" in capsys.readouterr().out
    (tmp_path / "c.json").write_text(database([-2, -1]))
    with pytest.raises(UserError, match=r"c\.json: .*-2 to -1 seconds"):
        convert(tmp_path / "c.json", "--output", tmp_path / "c.csv")


@pytest.mark.parametrize("label", [None, True, 1.5, ["x"]])
def test_detections_need_a_label(label: Any, tmp_path: Path) -> None:
    results = {"results": {"v": [{"segment": [1, 2], "score": 0.5, "label": label}]}}
    with pytest.raises(UserError, match=r'video "v", detection 0: the label is'):
        read(tmp_path / "r.json", json.dumps(results)).check()


def test_numbers_for_labels_are_noted(tmp_path: Path) -> None:
    file = read(tmp_path / "r.json", json.dumps({"results": {"v": [{"segment": [1, 2], "score": 0.5, "label": 3}]}}))
    assert file.rows[0].label == "3"
    assert any("1 detections have a number" in note for note in file.notes)


@pytest.mark.parametrize("threshold", ["nan", "inf", "x"])
def test_a_threshold_is_a_number(threshold: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        convert("r.json", "--threshold", threshold, "--output", tmp_path / "o.csv")
    assert threshold in capsys.readouterr().err


def test_output_paths(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(f"{HEADER}a.mp4,1,2,x\n")
    convert(tmp_path / "m.csv", "--output", tmp_path / "p/q/o.csv")
    assert plain(read(tmp_path / "p/q/o.csv")) == [("a.mp4", 1, 2, "x")]
    for name in (f"{'n' * 300}.csv", "n" * 300):
        with pytest.raises(UserError, match=r"nnn"):
            convert(tmp_path / "m.csv", "--output", tmp_path / name)


def images(*names: str) -> str:
    return "".join(f'<image id="{k}" name="{name}"><tag label="x"/></image>' for k, name in enumerate(names))


def test_cvats_pictures_are_no_video(tmp_path: Path) -> None:
    bare = cvat(images("cat.jpg", "dog.jpg")).replace("<source>a.mp4</source>", "")
    with pytest.raises(UserError, match=r"c\.xml: annotates 2 pictures \(cat\.jpg, dog\.jpg\)"):
        read(tmp_path / "c.xml", bare)
    file = read(tmp_path / "clip.xml", bare.replace("cat.jpg", "frame_000003").replace("dog.jpg", "frame_000004"))
    assert plain(file) == [("clip", 3, 5, "x")]
    assert any('"clip"' in note for note in file.notes)
    assert not read(tmp_path / "a.xml", cvat(images("frame_000003", "frame_000004"))).notes
