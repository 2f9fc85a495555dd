"""The doctor on sound, broken and missing data: its counts, its findings, its exit codes."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from adatad_jax import doctor
from adatad_jax.data.annotations import load_annotations
from adatad_jax.diagnosis.report import FILE_PROBLEMS
from adatad_jax.errors import UserError
from adatad_jax.video import decord_reader
from tests.real_data import real_file
from tests.video.broken_files import FRAMES, RATE, write_broken, write_video

CONFIG = """
from adatad_jax.config import default

def get_config():
    config = default()
    config.data.videos = {videos!r}
    config.data.annotations = {annotations!r}
    config.data.window, config.data.crop, config.data.test_short_side, config.data.train_short_side = 64, 32, 32, 40
    config.data.threads = 2
    return config
"""
SOUND = {
    "subset": "training",
    "duration": FRAMES / RATE,
    "frame": FRAMES,
    "annotations": [{"segment": [0.5, 2.5], "label": "jump"}, {"segment": [1, 3], "label": "run"}],
}
Doctor = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def examine(tmp_path: Path) -> Doctor:
    """Returns a function that runs the doctor on `tmp_path/videos` and annotations, for its exit code and report."""

    def run(database: object, *arguments: str) -> tuple[int, dict[str, Any]]:
        annotations, config = tmp_path / "annotations.json", tmp_path / "mine.py"
        annotations.write_text(json.dumps({"database": database}))
        config.write_text(CONFIG.format(videos=str(tmp_path / "videos"), annotations=str(annotations)))
        output = tmp_path / "out"
        return call(["--config", str(config), "--output", str(output), *arguments]), read_report(output)

    (tmp_path / "videos").mkdir()
    return run


def call(arguments: Sequence[str]) -> int:
    """Runs the doctor; returns its exit code."""
    try:
        doctor.main(arguments)
    except SystemExit as leaving:
        return int(str(leaving.code))
    return 0


def read_report(folder: Path) -> dict[str, Any]:
    return json.loads((folder / doctor.REPORT_FILE).read_text())


def found(report: dict[str, Any], words: str) -> dict[str, Any]:
    """Returns the one finding whose text matches a pattern."""
    [finding] = [finding for finding in report["findings"] if re.search(words, finding["what"])]
    return finding


def test_the_doctor_says_which_reader_reads_what(
    tmp_path: Path, examine: Doctor, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("decord", reason="decord has wheels for Linux on x86-64 only")
    write_video(tmp_path / "videos/a.mp4")
    write_video(tmp_path / "videos/b.avi")
    write_video(tmp_path / "videos/c.mkv")
    database = {"a": SOUND, "b": SOUND, "c": {**SOUND, "subset": "validation"}}
    code, report = examine(database, "--config.data.reader=decord")
    assert (code, report["findings"]) == (0, [])
    assert "decord reads 2 of 3 videos, PyAV 1" in capsys.readouterr().out
    monkeypatch.setattr(decord_reader, "is_installed", lambda: False)
    with pytest.raises(UserError, match=r"config\.data\.reader=decord\b.*\bnot installed\b"):
        examine(database, "--config.data.reader=decord")


def test_sound_data(tmp_path: Path, examine: Doctor, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b", "c"):
        write_video(tmp_path / "videos" / f"{name}.mp4")
    code, report = examine({"a": SOUND, "b": SOUND, "c": {**SOUND, "subset": "validation"}})
    assert (code, report["fit"], report["findings"]) == (0, True, [])
    training = report["subsets"]["training"]
    assert training["files"] == {"fit": 2} | dict.fromkeys(FILE_PROBLEMS, 0)
    assert training["segments_by_class"] == {"jump": 2, "run": 2}
    assert training["windows_by_video"] == {"a": 1, "b": 1}
    # 50 frames are 12.5 grid positions: points are 6.25 to 12.5 from the farther end, for the second and third level
    assert training["segments_by_level"] == [0, 4, 4, 0, 0, 0]
    costs = report["costs"]["training"]
    assert (costs["measured"], costs["frames"], costs["windows"]) == (2, 50, 2)  # every fourth of 100 frames
    assert costs["frame_bytes"] > 0
    assert costs["window_seconds"] > 0
    out = capsys.readouterr().out
    assert re.search(r"^fit: .*\b0 errors, 0 warnings\b", out, re.MULTILINE)
    assert not set("┃│━─╇") & set(out)  # plain text where it is not a terminal
    picture = matplotlib.image.imread(tmp_path / "out" / doctor.PICTURE_FILE)
    assert min(picture.shape[:2]) > 500
    assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 50


def test_every_problem_is_listed_at_once(tmp_path: Path, examine: Doctor, capsys: pytest.CaptureFixture[str]) -> None:
    videos = tmp_path / "videos"
    faults = write_broken(videos)
    for name in ("odd", "other", "test"):
        write_video(videos / f"{name}.mp4")
    (videos / "other.mkv").touch()
    odd: list[dict[str, object]] = [
        {"segment": [2, 1], "label": "jump"},
        {"segment": [5, 6], "label": "jump"},
        {"segment": [3, 9], "label": "jump"},
        {"segment": [1, 1], "label": "jump"},
        {"segment": [1, 2], "label": "jump"},
        {"segment": [1, 2], "label": "jump"},
        {"segment": [2.01, 2.1], "label": "jump"},  # inside grid position 12
        {"segment": [0, 1], "label": "stumble"},
        {"segment": [0, 1], "label": "Ambiguous"},
    ]
    database = {
        **dict.fromkeys((*faults, "other"), SOUND),
        "odd": {**SOUND, "annotations": odd},
        "bare": {**SOUND, "annotations": []},
        "test": {**SOUND, "subset": "validation", "annotations": [{"segment": [1, 2], "label": "jump"}]},
    }
    (tmp_path / "classes.txt").write_text("jump\nrun\nsleep\n")
    code, report = examine(database, f"--config.data.classes={tmp_path}/classes.txt")
    assert (code, report["fit"]) == (1, False)

    undecodable = {name for name in faults if name not in ("missing", "short")}
    cases = {
        "videos missing": {"missing": "no file with this name", "other": "several files"},
        "videos undecodable": {name: faults[name] for name in undecodable},
        "of another length than annotated": {"short": faults["short"]},
    }
    for words, lines in cases.items():
        finding = found(report, words)
        assert (finding["subset"], finding["error"], finding["count"]) == ("training", True, len(lines))
        for name, words in lines.items():
            [line] = [line for line in finding["cases"] if f"/{name}" in line]
            assert words in line
    assert report["subsets"]["training"]["files"] == {
        "missing": 2,
        "undecodable": 6,
        "of another length than annotated": 1,
        "too short for a window": 0,
        "fit": 1,
    }
    assert found(report, "neither in the class list")["cases"] == ['"stumble": 1 segments']
    assert found(report, "neither in the class list")["error"]
    warnings = {
        "end before they start": 1,
        "lie outside their video": 1,
        "beyond the ends": 1,
        "zero length": 1,
        "annotated twice": 1,
        "no point of a level can learn": 2,  # of zero length, and of less than a position
        "without a segment to learn": 1,
    }
    for words, count in warnings.items():
        finding = found(report, words)
        assert (finding["error"], finding["count"]) == (False, count), words
    assert found(report, "cannot be learned")["cases"] == ["sleep"]
    assert found(report, "are not measured")["cases"] == ["run", "sleep"]
    training = report["subsets"]["training"]
    assert (training["videos"], training["videos_used"]) == (11, 10)
    assert (training["segments"], training["segments_ignored"]) == (9 * 2 + 8, 2)
    assert re.search(r"^unfit: .*\b[1-9]\d* errors\b", capsys.readouterr().out, re.MULTILINE)


def test_what_may_be_skipped_is_a_warning_while_something_is_left(tmp_path: Path, examine: Doctor) -> None:
    for name in ("a", "b", "c"):
        write_video(tmp_path / "videos" / f"{name}.mp4")
    (tmp_path / "videos" / "d.mp4").write_bytes(b"nothing")
    test = {**SOUND, "subset": "validation"}
    database = {"a": SOUND, "b": SOUND, "d": SOUND, "e": SOUND, "c": test, "f": test}
    code, report = examine(database, "--config.data.skip_broken=True")
    assert code == 0
    assert sum("they are skipped" in finding["what"] for finding in report["findings"]) == 3
    for name in ("b", "c"):
        (tmp_path / "videos" / f"{name}.mp4").unlink()
    code, report = examine(database, "--config.data.skip_broken=True")
    assert code == 1
    assert found(report, "no video is fit")["subset"] == "validation"
    assert found(report, r"^1 videos\b.*\bconfig\.train\.release_gpus=2\b")["error"]


def test_what_is_read_too_slowly_is_killed_and_named(tmp_path: Path, examine: Doctor) -> None:
    for name in ("a", "b"):
        write_video(tmp_path / "videos" / f"{name}.mp4")
    code, report = examine({"a": SOUND, "b": {**SOUND, "subset": "validation"}}, "--config.data.time_limit=1e-6")
    assert code == 1
    undecodable = [finding for finding in report["findings"] if "undecodable" in finding["what"]]
    assert [finding["count"] for finding in undecodable] == [1, 1]
    assert all("not read within 1e-06 s" in finding["cases"][0] for finding in undecodable)


def test_twenty_lines_a_kind_on_the_terminal_and_all_in_the_file(
    examine: Doctor, capsys: pytest.CaptureFixture[str]
) -> None:
    reversed_ones = [{"segment": [2, 1], "label": "jump"}] * 30
    names = [f"video_{number:02d}" for number in range(40)]
    database = dict.fromkeys(names, SOUND) | {"test": {**SOUND, "subset": "validation"}}
    database["video_00"] = {**SOUND, "annotations": [*SOUND["annotations"], *reversed_ones]}  # type: ignore[misc]
    code, report = examine(database)
    assert code == 1
    [finding] = [f for f in report["findings"] if f["subset"] == "training" and "missing" in f["what"]]
    assert finding["count"] == len(finding["cases"]) == 40
    assert found(report, "end before they start")["count"] == 30
    out = capsys.readouterr().out
    assert sum("videos/video_" in line for line in out.splitlines()) == 20
    assert "... and 20 more" in out
    assert "... and 10 more" in out


def test_subsets_and_annotations_that_are_not_there(tmp_path: Path, examine: Doctor) -> None:
    write_video(tmp_path / "videos" / "a.mp4")
    code, report = examine({"a": SOUND})
    assert code == 1
    assert found(report, r'\bno video of subset "validation"')["error"]
    assert report["subsets"]["training"]["files"]["fit"] == 1
    code, report = examine({"a": {**SOUND, "duration": "long"}, "b": {**SOUND, "frame": -1}})
    assert code == 1
    assert report["subsets"] == {}
    assert found(report, r"\b2 problem\(s\)")["count"] == 2
    code, report = examine({"a": SOUND}, f"--config.data.classes={tmp_path}/nowhere.txt")
    assert found(report, r"/nowhere\.txt: no such file\b")["error"]
    assert report["subsets"]["training"]["segments_by_class"] == {"jump": 1, "run": 1}


def test_a_table_with_a_broken_video(tmp_path: Path, examine: Doctor) -> None:
    for name in ("a", "b", "c"):
        write_video(tmp_path / "videos" / f"{name}.mp4")
    (tmp_path / "videos" / "d.mp4").write_bytes(b"nothing")
    lines = [f"{name},0.5,2.5,jump,{'validation' if name == 'c' else 'training'}" for name in "abcd"]
    (tmp_path / "mine.csv").write_text("\n".join(["video,start,end,label,subset", *lines]) + "\n")
    code, report = examine({"a": SOUND}, f"--config.data.annotations={tmp_path}/mine.csv")
    assert code == 1
    [finding] = [finding for finding in report["findings"] if finding["error"]]
    assert "d.mp4: not a video" in "\n".join(finding["cases"])
    assert report["subsets"]["training"]["files"]["fit"] == 2


def test_annotations_of_a_tool_are_named_and_so_are_labels_spelt_twice(tmp_path: Path, examine: Doctor) -> None:
    for name in ("a", "b"):
        write_video(tmp_path / "videos" / f"{name}.mp4")
    text = "default\t00:00:00.500\t00:00:02.500\t{}\ta.mp4\n"
    header = "Tier\tBegin Time - hh:mm:ss.ms\tEnd Time - hh:mm:ss.ms\tAnnotation\tFile Name\n"
    lines = text.format("Fall (FW)") + text.format("Falling (FW)").replace("a.mp4", "b.mp4")
    (tmp_path / "elan.txt").write_text(header + lines)
    _, report = examine({"a": SOUND}, f"--config.data.annotations={tmp_path}/elan.txt")
    assert found(report, r"\bspelt twice\b")["cases"] == ['"Fall (FW)" and "Falling (FW)"']
    assert any("ELAN" in note and "2 segments of 2 videos" in note for note in report["notes"])


def test_exit_codes_of_the_command(tmp_path: Path, examine: Doctor) -> None:
    write_video(tmp_path / "videos" / "a.mp4")
    examine({"a": SOUND})  # writes the files
    command = [sys.executable, "-m", "adatad_jax.doctor", "--config", str(tmp_path / "mine.py")]
    wrong = subprocess.run([*command, "--config.data.wimdow=3"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "wimdow" in wrong.stderr
    unfit = subprocess.run([*command, "--output", str(tmp_path / "o")], capture_output=True, text=True, check=False)
    assert (unfit.returncode, unfit.stderr) == (1, "")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"/file/out: .*\bmade\b.*--output"):
        doctor.main([*command[3:], "--output", str(tmp_path / "file" / "out")])


@pytest.mark.parametrize(("release_windows", "windows"), [(False, 791), (True, 792)])
def test_thumos_without_its_videos(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], release_windows: bool, windows: int
) -> None:
    annotations = real_file("annotations/thumos_14_anno.json")
    arguments = ["--config", "configs/thumos_s.py", "--output", str(tmp_path), "--config.data.classes="]
    arguments += [f"--config.data.annotations={annotations}", f"--config.data.release_windows={release_windows}"]
    code = call([*arguments, f"--config.data.videos={tmp_path}/videos"])
    report = read_report(tmp_path)
    assert code == 1
    training, test = report["subsets"]["training"], report["subsets"]["validation"]
    assert (training["videos"], training["segments"], training["windows"]) == (200, 3003, 720)
    assert (test["videos"], test["segments"], test["windows"]) == (211, 3325, windows)
    assert sum(training["segments_by_class"].values()) == 3003
    assert training["files"]["missing"] == 200
    assert report["costs"]["validation"]["frame_bytes"] is None
    frames = [-(-video.frames // 4) for video in load_annotations(annotations).values() if video.subset == "validation"]
    assert report["costs"]["validation"]["frames"] == sum(frames)
    assert re.search(r"\bconfig\.data\.videos=.*\b411\s+videos\b", capsys.readouterr().out, re.DOTALL)
    assert (tmp_path / doctor.PICTURE_FILE).exists()
