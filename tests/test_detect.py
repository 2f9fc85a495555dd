"""`detect` on files and folders: what it writes, skips, refuses and goes on after."""

import csv
import io
import json
from pathlib import Path

import av
import numpy as np
import pytest
from rich.console import Console

from adatad_jax.detect import Options, detect_files, main
from adatad_jax.detector import Detector
from adatad_jax.errors import UserError
from adatad_jax.outputs.targets import WRITTEN, plan
from tests.tiny_detector import moving_square, tiny_trained, write_video


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(tiny_trained())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos, one of them further down, and one that is none."""
    path = tmp_path_factory.mktemp("videos")
    (path / "more").mkdir()
    write_video(path / "a.mkv", moving_square(100), np.arange(100) / 20)
    write_video(path / "more/b.mkv", moving_square(40), np.arange(40) / 20)
    (path / "broken.mp4").write_text("not a video")
    return path


def detect(detector: Detector, given: list[Path], output: Path, **options: object) -> tuple[list[str], str]:
    said = io.StringIO()
    failures = detect_files(detector, plan(given, output), Options(**options), Console(file=said, width=1000))  # type: ignore[arg-type]
    return failures, said.getvalue()


def test_every_video_gets_its_files_and_one_that_fails_stops_none(
    detector: Detector, folder: Path, tmp_path: Path
) -> None:
    failures, said = detect(detector, [folder], tmp_path)
    assert len(failures) == 1
    assert "broken.mp4" in failures[0]
    assert "3 videos: 2 done, 0 done before, 1 failed" in said
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {f"{base}{suffix}" for base in ("a", "more/b") for suffix in WRITTEN}

    found = detector(folder / "a.mkv")
    content = json.loads((tmp_path / "a.json").read_text())
    assert (content["duration"], content["fps"]) == pytest.approx((5, 20))
    rows = [(*row["segment"], row["label"], row["score"]) for row in content["detections"]]
    assert rows == [tuple(detection) for detection in found]
    with (tmp_path / "a.csv").open(newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == [detection.label for detection in found]
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert found[0].label in (tmp_path / "a.srt").read_text()
    assert (tmp_path / "a.vtt").read_text().startswith("WEBVTT")


def test_options_choose_what_is_kept(detector: Detector, folder: Path, tmp_path: Path) -> None:
    found = detector(folder / "a.mkv")
    detect(detector, [folder / "a.mkv"], tmp_path, top=2, labels=("jump",), threshold=0.01)
    content = json.loads((tmp_path / "a.json").read_text())["detections"]
    best = [detection for detection in found if detection.label == "jump"][:2]
    assert [row["score"] for row in content] == [detection.score for detection in best]
    assert detect(detector, [folder / "a.mkv"], tmp_path / "none", threshold=1.0)[0] == []
    assert json.loads((tmp_path / "none/a.json").read_text())["detections"] == []
    with pytest.raises(UserError, match='"jumping" is none of the classes'):
        detect(detector, [folder / "a.mkv"], tmp_path, labels=("jumping",))
    with pytest.raises(UserError, match="fps=0"):
        detect(detector, [folder / "a.mkv"], tmp_path, fps=0.0)


def test_what_is_done_is_not_done_again_unless_something_changed(
    detector: Detector, folder: Path, tmp_path: Path
) -> None:
    given = [folder / "a.mkv"]
    detect(detector, given, tmp_path)
    before = (tmp_path / "a.json").stat().st_mtime_ns
    assert "a.mkv: done before" in detect(detector, given, tmp_path)[1]
    assert (tmp_path / "a.json").stat().st_mtime_ns == before
    assert "done before" not in detect(detector, given, tmp_path, again=True)[1]
    assert "done before" not in detect(detector, given, tmp_path, top=3)[1]
    other = tiny_trained()
    other.params["detector"]["head"]["boundary_tower"]["out"]["bias"][:] = 2
    assert "done before" not in detect(Detector(other), given, tmp_path, top=3)[1]


def test_files_of_somebody_else_stay(detector: Detector, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_text("my own subtitles")
    failures, _ = detect(detector, [folder / "a.mkv"], tmp_path)
    assert "a.srt: exists, and was not written by detect" in failures[0]
    assert [path.name for path in tmp_path.iterdir()] == ["a.srt"]
    assert (tmp_path / "a.srt").read_text() == "my own subtitles"


def test_an_annotated_video_on_request(detector: Detector, folder: Path, tmp_path: Path) -> None:
    detect(detector, [folder / "a.mkv"], tmp_path, annotate=True)
    with av.open(str(tmp_path / "a.annotated.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "out", "a.mp4"], "one of the arguments --workdir --checkpoint is required"),
        (["--workdir", "run", "--output", "out"], "VIDEO|FOLDER"),
        (["--workdir", "run", "--output", "out", "--top", "many", "a.mp4"], "--top"),
    ],
)
def test_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err
