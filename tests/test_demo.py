"""The whole demo, small but on real files, and the commands that a user would run after it."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest

from adatad_jax import train
from adatad_jax.errors import UserError

ROOT = Path(__file__).parents[1]
SIZE = ("--train-videos", "8", "--test-videos", "3", "--epochs", "2", "--seed", "5")

# Blocks imports of torch, as on a machine without it, then runs a module of the package.
WITHOUT_TORCH = """
import runpy, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocker())
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def run(
    *arguments: str | Path, torch: bool = True, check: bool = True, **variables: str
) -> subprocess.CompletedProcess[str]:
    start = ["-m"] if torch else ["-c", WITHOUT_TORCH]
    environment = {**os.environ, "XLA_FLAGS": "", "COLUMNS": "200", **variables}
    command = [sys.executable, *start, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    if check:
        assert done.returncode == 0, done.stderr[-3000:]
    return done


def refused(monkeypatch: pytest.MonkeyPatch, workdir: Path, flags: list[str]) -> str:
    """Returns the message with which a training with configs/demo.py ends."""
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError) as caught:
        train.main(["--config", "configs/demo.py", "--workdir", str(workdir), *flags])
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "demo"
    done = run("adatad_jax.demo.run", "--workdir", folder, *SIZE)
    assert "mAP@0.5" in done.stdout
    return folder


def overrides(folder: Path) -> list[str]:
    """Returns the flags for configs/demo.py to train two epochs on the data of a demo folder."""
    return [
        f"--config.weights={folder}/weights",
        f"--config.data.videos={folder}/data/videos",
        f"--config.data.annotations={folder}/data/annotations.json",
        f"--config.data.classes={folder}/data/classes.txt",
        "--config.seed=5",
        "--config.train.epochs=2",
        "--config.train.schedule_epochs=2",
        "--config.train.warmup_epochs=1",
    ]


def test_demo_writes_what_it_promises(demo: Path) -> None:
    metrics = json.loads((demo / "metrics.json").read_text())
    assert 0 <= metrics["mAP@0.5"] <= 1
    assert 0 <= metrics["average_mAP"] <= 1
    assert metrics["wall_seconds"] > 0
    assert metrics["seed"] == 5
    results = json.loads((demo / "results.json").read_text())["results"]
    annotations = json.loads((demo / "data/annotations.json").read_text())["database"]
    assert set(results) == {name for name, video in annotations.items() if video["subset"] == "validation"}
    assert all(d["segment"][1] <= annotations[v]["duration"] + 0.005 for v, rows in results.items() for d in rows)
    picture = (demo / "detections/test_000.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    with ocp.CheckpointManager(demo / "checkpoints") as manager:
        assert manager.latest_step() == 4  # two epochs of two steps


def test_same_command_resumes_and_finds_nothing_left_to_do(demo: Path) -> None:
    before = (demo / "history.jsonl").read_text()
    done = run("adatad_jax.demo.run", "--workdir", demo, *SIZE, "--resume")
    assert re.search(r"\bstep 4\b.*\bepoch 2\b", done.stdout)
    assert (demo / "history.jsonl").read_text() == before


def test_training_evaluating_and_detecting_need_no_torch(demo: Path, tmp_path: Path) -> None:
    """Starts from the demo's converted parameters, and ends as the demo did."""
    config = ("--config", "configs/demo.py", "--workdir", tmp_path / "run", *overrides(demo))
    run("adatad_jax.train", *config, torch=False)
    first, second = (
        [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
        for folder in (demo, tmp_path / "run")
    )
    for record in (*first, *second):
        assert record.pop("seconds") > 0
    assert second == first
    run("adatad_jax.evaluate", *config, torch=False)
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    expected = json.loads((demo / "metrics.json").read_text())
    assert metrics["average_mAP"] == expected["average_mAP"]
    video = demo / "data/videos/test_001.mp4"
    out = tmp_path / "out"
    run("adatad_jax.detect", "--workdir", tmp_path / "run", "--output", out, video, torch=False)
    found = json.loads((out / "test_001.json").read_text())
    assert found["duration"] > 0
    assert (out / "test_001.png").exists()


def leave(command: list[str], history: Path) -> tuple[int, str]:
    """Starts a command, sends it SIGTERM once the history has grown; returns its exit code and what it printed."""
    before = len(history.read_text()) if history.exists() else 0
    environment = {**os.environ, "XLA_FLAGS": ""}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as process:
        while process.poll() is None and not (history.exists() and len(history.read_text()) > before):
            time.sleep(0.05)
        process.terminate()
        printed, _ = process.communicate(timeout=300)
    return process.returncode, printed


@pytest.mark.slow
def test_a_run_leaves_when_it_is_asked_to_and_goes_on_from_that_very_step(demo: Path, tmp_path: Path) -> None:
    flags = [*overrides(demo), "--config.train.epochs=2000", "--config.train.schedule_epochs=2000"]
    config = ["--config", "configs/demo.py", "--workdir", str(tmp_path / "run"), *flags]
    command = [sys.executable, "-m", "adatad_jax.train", *config]
    code, printed = leave(command, tmp_path / "run/history.jsonl")
    said = re.search(r"left after step (\d+), as SIGTERM\b.*\bsame command\b", printed)
    assert (code, said is not None) == (75, True)
    assert said is not None
    code, printed = leave(command, tmp_path / "run/history.jsonl")
    assert code == 75
    assert re.search(rf"continuing .* step {said[1]}\b", printed)


def test_one_bad_video_does_not_stop_the_others(demo: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("not a video")
    good = demo / "data/videos/test_000.mp4"
    done = run("adatad_jax.detect", "--workdir", demo, "--output", tmp_path / "out", bad, good, check=False)
    assert done.returncode == 1
    assert "bad.mp4" in done.stdout
    assert (tmp_path / "out/test_000.json").exists()
    assert not (tmp_path / "out/bad.json").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--config.data.annotations=nowhere.json"], r"--config\.data\.annotations=nowhere\.json\b"),
        (["--config.data.train_subset=train"], r'"training" .*\b8\b.*"validation" .*\b3\b'),
        (["--config.model.size=S"], r"/weights: .*\bwidth 384\b(.|\n)*\bdepth: .*\b3\b.*\b12\b"),
        (["--config.weights=nowhere.pth"], r"--config\.weights=nowhere\.pth\b"),
        (["--config.train.warmup_epochs=2"], r"\b4 warm-up\b.*\bconfig\.train\.warmup_epochs\b"),
    ],
)
def test_bad_input_is_refused_in_words_and_leaves_nothing(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: list[str], message: str
) -> None:
    assert re.search(message, refused(monkeypatch, tmp_path / "run", [*overrides(demo), *changes]))
    assert not (tmp_path / "run").exists()


def test_workdir_of_another_config_is_refused(demo: Path) -> None:
    """As the command line says it: a message and an exit code."""
    flags = [*overrides(demo), "--config.train.tia_rate=0.5"]
    done = run("adatad_jax.train", "--config", "configs/demo.py", "--workdir", demo, *flags, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert re.search(r"\btrain\.tia_rate: .*\b0\.5\b", done.stderr)
    assert "Traceback" not in done.stderr


def test_a_run_goes_on_with_its_own_training_videos_alone(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one video of eight removed, an epoch has the same number of steps, but other windows."""
    run_folder = tmp_path / "run"  # a copy, because the command writes its configuration before it compares the videos
    shutil.copytree(demo, run_folder, ignore=shutil.ignore_patterns("data", "detections"))
    content = json.loads((demo / "data/annotations.json").read_text())
    content["database"]["train_003"]["subset"] = "validation"
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    flags = [*overrides(demo), f"--config.data.annotations={tmp_path}/annotations.json"]
    said = refused(monkeypatch, run_folder, flags)
    assert re.search(rf"{re.escape(str(run_folder))}: .*\bvideos\b.*\b8\b.*\b7\b", said)


def test_missing_and_broken_videos_are_listed_before_training(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for path in (demo / "data/videos").iterdir():
        (videos / path.name).write_bytes(path.read_bytes())
    for name in ("train_001", "train_004"):
        (videos / f"{name}.mp4").unlink()
    flags = [*overrides(demo), f"--config.data.videos={videos}"]
    said = refused(monkeypatch, tmp_path / "run", flags)
    assert re.search(r"\b2 of 8\b.*\bmissing\b", said)
    assert all(f"{videos / name}: no file" in said for name in ("train_001", "train_004"))
    for name in ("train_001", "train_004"):
        (videos / f"{name}.mp4").write_bytes(np.arange(100, dtype=np.uint8).tobytes())
    said = refused(monkeypatch, tmp_path / "run", flags)
    assert re.search(r"\b2 of 8 videos\b", said)
    assert "train_001.mp4" in said
    assert "train_004.mp4" in said
    assert not (tmp_path / "run").exists()


def test_annotations_of_another_form_and_unknown_labels_are_refused(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = json.loads((demo / "data/annotations.json").read_text())
    path = tmp_path / "annotations.json"
    flags = [*overrides(demo), f"--config.data.annotations={path}"]
    path.write_text(json.dumps({"videos": content["database"]}))
    assert re.search(r'/annotations\.json: .*"database"', refused(monkeypatch, tmp_path / "run", flags))
    content["database"]["train_000"]["annotations"][0]["label"] = "juggle"
    path.write_text(json.dumps(content))
    assert re.search(r'"juggle" .*\b1\b', refused(monkeypatch, tmp_path / "run", flags))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_demo_learns(tmp_path: Path, seed: int) -> None:
    """Runs the demo at its full size on each of three data seeds."""
    fully_compiled = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
    run("adatad_jax.demo.run", "--workdir", tmp_path / "demo", "--seed", str(seed), **fully_compiled)
    metrics = json.loads((tmp_path / "demo/metrics.json").read_text())
    assert metrics["mAP@0.5"] >= 0.8
    assert metrics["mAP@0.5"] > metrics["mAP@0.7"]


@pytest.mark.slow
def test_detections_are_corrected_and_trained_on(demo: Path, tmp_path: Path) -> None:
    """The circle of the README: detect, correct in Label Studio (here one label), train on what it exports."""
    videos, found, tasks = demo / "data/videos", tmp_path / "found", tmp_path / "tasks.json"
    names = ("test_000", "test_001", "test_002")
    run("adatad_jax.detect", "--workdir", demo, "--output", found, *(videos / f"{name}.mp4" for name in names))
    scores = [json.loads((found / f"{name}.json").read_text())["detections"][0]["score"] for name in names]
    convert = ("adatad_jax.annotations", found, "--threshold", str(min(scores)), "--videos", videos)
    run(*convert, "--to", "label-studio", "--output", tasks)
    content = json.loads(tasks.read_text())
    assert [task["data"]["video"].rpartition("=")[2] for task in content] == [f"{name}.mp4" for name in names]
    regions = [region for task in content for region in task["annotations"][0]["result"]]
    regions[0]["value"]["timelinelabels"] = ["bounce"]
    corrected = tmp_path / "corrected.json"
    corrected.write_text(json.dumps(content))
    flags = [*overrides(demo), f"--config.data.annotations={corrected}", "--config.train.batch_size=1"]
    done = run("adatad_jax.train", "--config", "configs/demo.py", "--workdir", tmp_path / "again", *flags)
    assert re.search(r"corrected\.json: read as Label Studio JSON, \d+ segments of 3 videos", done.stdout)
    assert (tmp_path / "again/checkpoints").is_dir()
