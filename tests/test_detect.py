"""`detect` on files and folders: what it writes, skips and refuses, and which failures it survives."""

import csv
import io
import json
import re
from pathlib import Path

import av
import numpy as np
import pytest
from rich.console import Console

from adatad_jax.detect import main
from adatad_jax.errors import UserError
from adatad_jax.inference.detector import Detector
from adatad_jax.outputs.targets import ANNOTATED, WRITTEN, claimed, plan
from adatad_jax.pipelines import detect_in_files as module
from adatad_jax.pipelines.detect_in_files import DetectionOptions, detect_files
from tests.tiny_detector import moving_square, tiny_trained, write_video
from tests.video.broken_files import write_video as write_noise


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(tiny_trained())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes two videos, one of them in a subfolder, and a file that is not a video."""
    path = tmp_path_factory.mktemp("videos")
    (path / "more").mkdir()
    write_video(path / "a.mkv", moving_square(100), np.arange(100) / 20)
    write_video(path / "more/b.mkv", moving_square(40), np.arange(40) / 20)
    (path / "broken.mp4").write_text("not a video")
    return path


def detect(detector: Detector, given: list[Path], output: Path, **options: object) -> tuple[list[str], str]:
    said = io.StringIO()
    failures = detect_files(detector, plan(given, output), DetectionOptions(**options), Console(file=said, width=1000))  # type: ignore[arg-type]
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
    with pytest.raises(UserError, match=r'"jumping" .*\bclasses\b'):
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


@pytest.mark.parametrize("stopped_at", ["to_csv", "draw_timeline", "write_annotated"])
def test_a_run_that_was_stopped_is_taken_up(
    stopped_at: str, detector: Detector, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(module, stopped_at, stop)
    with pytest.raises(KeyboardInterrupt):
        detect(detector, [folder / "a.mkv"], tmp_path, annotate=True)
    assert "done before" not in detect(detector, [folder / "a.mkv"], tmp_path, annotate=True)[1]
    assert {path.name for path in tmp_path.iterdir()} == {f"a{suffix}" for suffix in (*WRITTEN, ANNOTATED)}


def test_two_processes_may_share_a_folder(detector: Detector, folder: Path, tmp_path: Path) -> None:
    with claimed(plan([folder / "a.mkv"], tmp_path)[0]):
        failures, said = detect(detector, [folder / "a.mkv", folder / "more/b.mkv"], tmp_path)
    assert not failures
    assert "2 videos: 1 done, 0 done before, 0 failed, 1 left to another process" in said
    assert {path.stem for path in tmp_path.iterdir()} == {"b"}


def test_a_video_that_changes_meanwhile_is_not_written(
    detector: Detector, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = tmp_path / "growing.mkv"
    video.write_bytes((folder / "more/b.mkv").read_bytes())

    def find(*arguments: object) -> object:
        video.write_bytes(video.read_bytes() + b"more")
        return Detector.find(detector, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(detector, "find", find)
    assert re.search(r"growing\.mkv: .*changed while", detect(detector, [video], tmp_path / "out")[0][0])
    assert not list((tmp_path / "out").iterdir())


def test_any_name_of_a_file(detector: Detector, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uses names that FFmpeg takes for addresses or patterns, that span lines, or that are too long for the outputs."""
    monkeypatch.chdir(tmp_path)
    names = ["http:b.mkv", "[red]\n%d.mkv", f"{'x' * 240}.mkv"]
    for name in names:
        Path(name).write_bytes((folder / "more/b.mkv").read_bytes())
    failures, _ = detect(detector, [Path(name) for name in names], Path("."), annotate=True)
    assert len(failures) == 1
    assert re.search(r"^x{240}\.mkv: .*\bcannot be written\b.*\bx{240}\b", failures[0])
    assert Path("http:b.annotated.mp4").stat().st_size > 1000


def test_subtitles_keep_to_the_clock_of_the_file(detector: Detector, folder: Path, tmp_path: Path) -> None:
    """Uses 100 frames at 20 per second: given as 10 per second they last 10 s, but a player shows them in 5 s."""
    detect(detector, [folder / "a.mkv"], tmp_path, fps=10.0, threshold=0.0)
    found = json.loads((tmp_path / "a.json").read_text())["detections"]
    assert max(row["segment"][1] for row in found) > 9
    times = re.findall(r"--> 00:00:(\d\d,\d+)", (tmp_path / "a.srt").read_text())
    assert 4.5 < max(float(time.replace(",", ".")) for time in times) <= 5


def test_damage_is_filled_and_marked_on_request(detector: Detector, tmp_path: Path) -> None:
    """Frame 41 of 100, at 25 per second, is lost, and so all up to the next key frame."""
    source = write_noise(tmp_path / "whole.mp4")
    with av.open(str(source)) as container:
        packets = [(packet.pts or 0, packet.pos or 0, packet.size) for packet in container.demux(video=0)]
    content = bytearray(source.read_bytes())
    _, position, size = sorted(packet for packet in packets if packet[2])[41]
    content[position : position + size] = bytes(size)
    source.write_bytes(content)

    failures, _ = detect(detector, [source], tmp_path / "refused")
    assert re.search(r"frame 4\d\b.*damaged", failures[0])
    failures, _ = detect(detector, [source], tmp_path / "few", skip_damaged=0.01)
    assert "1% of its 100 frames" in failures[0]
    failures, said = detect(detector, [source], tmp_path / "filled", skip_damaged=0.9)
    assert failures == []
    result = json.loads((tmp_path / "filled/whole.json").read_text())
    ((start, end),) = result["damaged"]
    assert 1.5 < start < 41 / 25 + 0.001 < end <= 2.0
    assert f"{end - start:.2f} s in 1 stretches" in said
    with (tmp_path / "filled/whole.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            shared = min(float(row["end"]), end) - max(float(row["start"]), start)
            assert float(row["damaged"]) == pytest.approx(max(0.0, shared))


@pytest.mark.parametrize(("file", "told"), [("rtsp_jump_1h.mp4", "3600.04 s"), ("screen_gaps.webm", "2 stretches")])
def test_what_is_repaired_is_said_and_kept(detector: Detector, tmp_path: Path, file: str, told: str) -> None:
    source = Path(__file__).parent / "cases" / file
    failures, said = detect(detector, [source], tmp_path)
    result = json.loads((tmp_path / source.with_suffix(".json").name).read_text())
    assert failures == []
    assert told in said
    assert told in " ".join(result["notes"])
    assert result["duration"] == pytest.approx(12 if "jump" in file else 25.2, abs=0.01)
    assert all(row["segment"][1] <= result["duration"] + 1e-6 for row in result["detections"])


def test_an_annotated_video_of_other_options_does_not_stay(detector: Detector, folder: Path, tmp_path: Path) -> None:
    given = [folder / "more/b.mkv"]
    detect(detector, given, tmp_path, annotate=True)
    detect(detector, given, tmp_path, top=1)
    assert not (tmp_path / "b.annotated.mp4").exists()
    assert "done before" in detect(detector, given, tmp_path, top=1)[1]
    assert "done before" not in detect(detector, given, tmp_path, top=1, annotate=True)[1]
    assert "done before" in detect(detector, given, tmp_path, top=1)[1]


def test_files_of_somebody_else_stay(detector: Detector, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_text("my own subtitles")
    failures, _ = detect(detector, [folder / "a.mkv"], tmp_path)
    assert re.search(r"/a\.srt: exists\b.*\bnot written by detect\b", failures[0])
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
