"""`python -m adatad_jax.annotations`: every format into every other, what is refused, and the circle of corrections."""

import json
import subprocess
import sys
from fractions import Fraction
from itertools import product
from pathlib import Path

import pytest

from adatad_jax.annotations.__main__ import main
from adatad_jax.annotations.names import names_of_files, plain_name
from adatad_jax.config.fields import Config
from adatad_jax.data.subset import load_videos
from adatad_jax.errors import UserError
from adatad_jax.evaluation.truth_file import load_truth
from adatad_jax.outputs.detection_files import to_csv, to_json
from adatad_jax.postprocessing.detections import Detection
from tests.annotations.reading import plain, read
from tests.data.test_annotation_table import write_video

CASES = Path(__file__).parent / "cases"
TABLE = 'video,start,end,label,subset\na.mp4,0.52,1.5,jump,training\nb.mp4,0.2,2.96,"run, fast",validation\n'
TABLE += "a.mp4,1.24,1.96,run,training\n"
WRITTEN = {"csv": "out.csv", "json": "out.json", "label-studio": "tasks.json", "elan": "out.txt"}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "a.mp4", 50, Fraction(25))
    write_video(folder / "b.mp4", 90, Fraction(30))
    return folder


def convert(*arguments: object) -> None:
    main([str(argument) for argument in arguments])


def segments(path: Path, videos: Path) -> list[tuple[str, float, float, str]]:
    """The segments of a converted file in seconds, as training reads them, by video and start."""
    fields = {"data.annotations": str(path), "data.videos": str(videos)}
    return sorted(
        (name, *segment, label)
        for name, video in load_videos(Config().with_fields(fields)).items()
        for segment, label in zip(video.segments.tolist(), video.labels, strict=True)
    )


@pytest.mark.parametrize(("first", "second"), list(product(WRITTEN, WRITTEN)))
def test_every_format_becomes_every_other(first: str, second: str, videos: Path, tmp_path: Path) -> None:
    """Times stay; but Label Studio counts frames at the higher rate, 30, so they may move by half a frame."""
    table = tmp_path / "mine.csv"
    table.write_text(TABLE)
    between, end = tmp_path / f"1_{WRITTEN[first]}", tmp_path / f"2_{WRITTEN[second]}"
    convert(table, "--videos", videos, "--to", first, "--output", between)
    convert(between, "--videos", videos, "--to", second, "--output", end)
    within = 0.5 / 30 + 1e-3 if "label-studio" in (first, second) else 1e-6
    expected = [("a", 0.52, 1.5, "jump"), ("a", 1.24, 1.96, "run"), ("b", 0.2, 2.96, "run, fast")]
    found = segments(end, videos)
    assert [(row[0], row[3]) for row in found] == [(row[0], row[3]) for row in expected]
    assert [row[1:3] for row in found] == [pytest.approx(row[1:3], abs=within) for row in expected]


def test_subsets_are_kept_and_made_where_the_format_needs_them(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.csv").write_text(TABLE)
    convert(tmp_path / "mine.csv", "--videos", videos, "--to", "label-studio", "--output", tmp_path / "ls.json")
    convert(tmp_path / "ls.json", "--output", tmp_path / "back.csv")
    assert {row.video: row.subset for row in read(tmp_path / "back.csv").rows} == {
        "a.mp4": "training",
        "b.mp4": "validation",
    }
    (tmp_path / "bare.csv").write_text("video,start,end,label\na,0,1,x\nb,0,1,x\n")
    convert(tmp_path / "bare.csv", "--videos", videos, "--output", tmp_path / "bare.json")
    database = json.loads((tmp_path / "bare.json").read_text())["database"]
    assert sorted(entry["subset"] for entry in database.values()) == ["training", "validation"]
    assert (database["b"]["duration"], database["b"]["frame"]) == (pytest.approx(3), 90)
    assert "no subsets" in capsys.readouterr().out
    convert(tmp_path / "bare.csv", "--subset", "test", "--output", tmp_path / "named.csv")
    assert (tmp_path / "named.csv").read_text().splitlines()[1] == "a,0,1,x,test"


def test_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = CASES / "boris.csv", CASES / "ls.json"
    convert(*files, "--fps", 30, "--point-seconds", 1, "--output", tmp_path / "m.csv")
    said = capsys.readouterr().out
    assert "boris.csv: read as BORIS aggregated events, 2 segments of 1 videos" in said
    assert "ls.json: read as Label Studio JSON, 1 segments of 1 videos" in said
    assert "wrote 3 segments of 2 videos" in said
    assert plain(read(tmp_path / "m.csv")) == [
        ("a.mp4", 1.5, 3.25, "groom"),
        ("a.mp4", 3.5, 4.5, "jump"),
        ("ab12-a.mp4", 1, 3, "jump"),
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ls.json", "--output", "o.csv"], r"ls\.json: task 1: .*frame rate.*--videos.*--fps"),
        (["boris.csv", "--output", "o.csv"], r"--point-seconds"),
        (["hms.csv", "--output", "o.json"], r"o\.json: .*durations.*a, b.*--videos"),
        (["hms.csv", "--to", "label-studio", "--output", "o.json"], r"--videos.*--fps"),
        (["hms.csv", "--output", "o.xlsx"], r"o\.xlsx: .*--to csv"),
        (["hms.csv", "--videos", "nowhere", "--output", "o.csv"], r"nowhere: no such folder"),
        (["hms.csv", "--threshold", "0.5", "--output", "o.csv"], r"line 2 has no score.*--threshold"),
        (["nowhere.csv", "--output", "o.csv"], r"nowhere\.csv: no such file"),
    ],
)
def test_what_is_lacking_is_named_and_nothing_written(arguments: list[str], told: str, tmp_path: Path) -> None:
    arguments[0] = str(CASES / arguments[0])
    arguments[-1] = str(tmp_path / arguments[-1])
    with pytest.raises(UserError, match=f"(?s){told}"):
        main(arguments)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    output = tmp_path / "my.csv"
    output.write_text("mine")
    with pytest.raises(UserError, match=r"not overwritten(.|\n)*my\.csv"):
        convert(CASES / "hms.csv", "--output", output)
    assert output.read_text() == "mine"
    folder = tmp_path / "elan"
    convert(CASES / "hms.csv", "--output", folder)
    assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "b.txt"]
    with pytest.raises(UserError, match=r"not overwritten(.|\n)*a\.txt(.|\n)*b\.txt"):
        convert(CASES / "hms.csv", "--output", folder)


def test_segments_beyond_a_video_are_named(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("video,start,end,label\na,0,2.9,x\nb,1,7.5,x\n")
    with pytest.raises(UserError, match=r'1 problem(.|\n)*mine\.csv: line 3: 1 to 7\.5 .*"b" has 3\.00'):
        convert(tmp_path / "mine.csv", "--videos", videos, "--output", tmp_path / "o.csv")


def test_missing_videos_are_listed_and_may_be_left_out(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.csv").write_text("video,start,end,label\na,0,1,x\ngone.mp4,1,2,x\nb,2,1,x\n")
    with pytest.raises(UserError, match=r"line 4: ends at 1"):
        convert(tmp_path / "mine.csv", "--videos", videos, "--output", tmp_path / "o.csv")
    convert(tmp_path / "mine.csv", "--videos", videos, "--skip-broken", "--output", tmp_path / "o.csv")
    assert (tmp_path / "o.csv").read_text() == "video,start,end,label\na.mp4,0,1,x\n"
    said = capsys.readouterr().out
    assert "gone" in said
    assert "line 4" in said


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("a", "a"),
        ("a.mp4", "a"),
        ("/data/a.mp4", "a"),
        ("C:\\films\\a.mp4", "a"),
        ("/data/local-files/?d=my%20films/a%20b.mp4", "a b"),
        ("https://example.org/x/a%20b.mp4?token=1", "a b"),
        ("/data/upload/1/a%20b.mp4", "a b"),
        ("c.d", "c.d"),
        ("100%.mp4", "100%"),
    ],
)
def test_bare_names(written: str, name: str) -> None:
    assert plain_name(written) == name


def test_names_are_those_of_the_files(tmp_path: Path) -> None:
    for name in ("a.mp4", "abcd-b.mp4", "c d.mp4", "01.mp4", "x.mp4.mp4"):
        (tmp_path / name).touch()
    written = ["/u/0123abcd-a.mp4", "abcd-b.mp4", "/data/local-files/?d=c%20d.mp4", "S_01.mp4", "x.mp4", "gone.mp4"]
    assert names_of_files(written, {"S_01.mp4": ("01.mp4",)}, tmp_path) == dict(
        zip(written, ["a", "abcd-b", "c d", "01", "x.mp4", "gone"], strict=True)
    )


def test_two_uploads_of_one_video_are_told(videos: Path, tmp_path: Path) -> None:
    tasks = [
        {"id": k, "data": {"video": f"/data/upload/1/{k}234abcd-a.mp4"}, "annotations": [{"result": []}]}
        for k in (1, 2)
    ]
    (tmp_path / "ls.json").write_text(json.dumps(tasks))
    fields = {"data.annotations": str(tmp_path / "ls.json"), "data.videos": str(videos)}
    with pytest.raises(UserError, match=r'"a" .*1234abcd-a, 2234abcd-a'):
        load_videos(Config().with_fields(fields))


def test_detections_are_corrected_in_label_studio_and_trained_on(videos: Path, tmp_path: Path) -> None:
    """The circle: `detect` writes files; the best become tasks; one label is corrected; training reads the export."""
    found = {
        "a": [Detection(0.52, 1.48, "jump", 0.9), Detection(0.0, 0.4, "run", 0.1)],
        "b": [Detection(0.2, 2.8, "run", 0.8)],
    }
    folder = tmp_path / "found"
    folder.mkdir()
    for name, detections in found.items():
        header = {"video": str(videos / f"{name}.mp4"), "duration": 2.0, "fps": 25.0, "detector": {}}
        (folder / f"{name}.json").write_text(to_json(header, detections))
        (folder / f"{name}.csv").write_text(to_csv(name, detections))
    fields = {"data.annotations": str(folder / "a.json"), "data.videos": str(videos)}
    with pytest.raises(UserError, match=r"a\.json: holds detections.*--threshold"):
        load_videos(Config().with_fields(fields))
    convert(folder, "--threshold", 0.5, "--videos", videos, "--to", "label-studio", "--output", tmp_path / "tasks.json")

    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert [task["data"]["video"] for task in tasks] == ["/data/local-files/?d=a.mp4", "/data/local-files/?d=b.mp4"]
    value = tasks[0]["annotations"][0]["result"][0]["value"]
    assert value["ranges"] == [{"start": 16, "end": 44}]  # 0.52 and 1.48 s at 30 frames a second
    value["timelinelabels"] = ["hop"]
    (tmp_path / "corrected.json").write_text(json.dumps(tasks))
    assert segments(tmp_path / "corrected.json", videos) == [
        ("a", pytest.approx(16 / 30), pytest.approx(44 / 30), "hop"),
        ("b", pytest.approx(6 / 30), pytest.approx(84 / 30), "run"),
    ]


def test_the_files_of_one_video_in_json_or_csv_are_the_same(videos: Path, tmp_path: Path) -> None:
    detections = [Detection(0.5, 1.5, "jump", 0.9), Detection(0.1, 0.4, "run", 0.1), Detection(0, 0, "run", 0.7)]
    (tmp_path / "a.json").write_text(
        to_json({"video": str(videos / "a.mp4"), "duration": 2.0, "fps": 25.0}, detections)
    )
    (tmp_path / "a.csv").write_text(to_csv("a", detections))
    for suffix in (".json", ".csv"):
        output = tmp_path / f"from{suffix}.csv"
        convert((tmp_path / "a").with_suffix(suffix), "--threshold", 0.5, "--videos", videos, "--output", output)
        assert plain(read(output)) == [("a.mp4", 0.5, 1.5, "jump")]


def test_evaluation_reads_them_all(videos: Path, tmp_path: Path) -> None:
    annotated = load_truth(CASES / "charades.csv")
    assert {name: own[0].tolist() for name, own in annotated.truth.items()} == {
        "VID01": [[3.1, 9.2], [0, 5.6]],
        "VID02": [[8.1, 10]],
    }
    assert annotated.durations == {"VID01": 12.5, "VID02": 11.33}
    with pytest.raises(UserError, match=r"ls\.json(.|\n)*task 1: .*--videos"):
        load_truth(CASES / "ls.json")
    frames = load_truth(CASES / "ls.json", folder=videos)
    assert frames.truth["a"][0].tolist() == [[30 / 25, 90 / 25]]


def test_help_and_the_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "adatad_jax.annotations"]
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    for word in ("boris", "label-studio", "cvat", "--point-seconds", "--label-from", "--threshold", "corrected.json"):
        assert word in done.stdout
    done = subprocess.run(
        [*command, str(CASES / "hms.csv"), "--output", str(tmp_path / "x.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
