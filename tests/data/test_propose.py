"""A user's own data: the values chosen for it, and the three commands from a folder to detections."""

import csv
import json
import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from adatad_jax.config.build import make_detector
from adatad_jax.config.fields import Config
from adatad_jax.config.load import load_config
from adatad_jax.config.open_fields import open_fields, take_open_fields
from adatad_jax.data.annotations import Video, load_annotations, select_subset
from adatad_jax.data.propose import propose, resolve
from adatad_jax.demo.dataset import generate
from adatad_jax.errors import UserError
from adatad_jax.training.optimizer import make_optimizer_config
from adatad_jax.weights.load import load_trained, published_configs
from tests.real_data import real_file
from tests.tiny_videomae import videomae_state

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs/custom.py"
COMMANDS = re.findall(r"^    python -m (adatad_jax\..*)$", CONFIG.read_text(), re.MULTILINE)
# The sizes of the demo's model, and a short training.
SMALL = {
    "data.train_short_side": 52,
    "data.test_short_side": 48,
    "data.crop": 48,
    "data.threads": 2,
    "model.size": "tiny",
    "model.dtype": "float32",
    "model.remat": False,
    "model.width": 32,
    "model.stem": 0,
    "model.branch": 2,
    "model.tia_blocks": "0",
    "train.epochs": 2,
}


def video_of(name: str, seconds: float, fps: float, *lengths: float, label: str = "x") -> Video:
    segments = np.array([[0, length] for length in lengths], np.float64).reshape(-1, 2)
    return Video(name, "training", seconds, round(seconds * fps), segments, (label,) * len(lengths))


def videos_of(count: int, seconds: float, fps: float, *lengths: float) -> dict[str, Video]:
    return {str(number): video_of(str(number), seconds, fps, *lengths) for number in range(count)}


def custom(*overrides: str) -> Config:
    return load_config(CONFIG, overrides)


def test_the_published_thumos_recipe_is_what_the_rules_give() -> None:
    path = real_file("annotations/thumos_14_anno.json")
    config = propose(custom(), select_subset(load_annotations(path), "training", path)).config
    published = load_config(ROOT / "configs/thumos_s.py")
    for field in ("data.stride", "data.window", "model.regression_ranges", "train.batch_size", "train.epochs"):
        assert config.flat()[field] == published.flat()[field]
    assert config.train.warmup_epochs == published.train.warmup_epochs


@pytest.mark.parametrize(
    ("fps", "lengths", "stride", "window"),
    [
        # a minute of video; positions = seconds * fps / stride, rounded up to a multiple of 32
        (30, (3.0,), 4, 480),  # 5 frames at 6 per second: 4; 1800 / 4 = 450
        (30, (1.0,), 2, 768),  # one second is 8 positions of 3.75 frames: 2; 900 positions are more than a window
        (60, (3.0,), 8, 480),
        (15, (3.0,), 2, 480),
        (10, (0.1,), 1, 608),  # 10 / 6 is less than 2; 600 / 1
        (30, (50.0,) * 2, 4, 480),  # 375 positions fit
    ],
)
def test_stride_and_window(fps: float, lengths: tuple[float, ...], stride: int, window: int) -> None:
    config = propose(custom(), videos_of(3, 60.0, fps, *lengths)).config
    assert (config.data.rate, config.data.stride, config.data.window) == (fps, stride, window)
    make_detector(config, classes=3)


def test_long_segments_fit_into_a_window() -> None:
    """At 30 frames per second, 600 s are 4500 positions of 4 frames; 768 positions hold them from stride 32 on."""
    config = propose(custom(), videos_of(3, 3600.0, 30, 600.0)).config
    assert (config.data.stride, config.data.window) == (32, 768)


@pytest.mark.parametrize(
    ("videos", "batch", "epochs"),
    [
        (8, 2, 500),  # 2000 steps at least: 4 per epoch
        (1, 1, 2000),
        (200, 2, 60),
        (10000, 2, 15),  # at least 15
    ],
)
def test_training_is_as_long_as_the_videos_are_many(videos: int, batch: int, epochs: int) -> None:
    config = propose(custom(), videos_of(videos, 200.0, 30, 3.0)).config
    assert config.data.window == 768
    assert (config.train.batch_size, config.train.epochs, config.train.schedule_epochs) == (batch, epochs, epochs)


@pytest.mark.parametrize(("videos", "epochs"), [(1, 1), (1, 3), (4, 1), (4, 2), (40, 1)])
def test_a_short_trial_has_a_schedule(videos: int, epochs: int) -> None:
    config = propose(custom(f"--config.train.epochs={epochs}"), videos_of(videos, 200.0, 30, 3.0)).config
    make_optimizer_config(config, math.ceil(videos / config.train.batch_size))  # refuses what cannot work


def test_short_windows_make_larger_batches() -> None:
    """At 30 frames per second, 6 s are 45 positions; 1536 / 64 = 24, but at most 16 and a quarter of the videos."""
    config = propose(custom(), videos_of(40, 6.0, 30, 3.0)).config
    assert (config.data.window, config.train.batch_size) == (64, 10)
    assert propose(custom(), videos_of(400, 6.0, 30, 3.0)).config.train.batch_size == 16


@pytest.mark.parametrize(
    "override",
    [
        "data.rate=25.0",
        "data.stride=2",
        "data.window=128",
        "model.regression_ranges=((0,8),(8,16),(16,32),(32,64),(64,128),(128,9999))",
        "train.batch_size=3",
        "train.epochs=7",
        "train.schedule_epochs=40",
        "train.warmup_epochs=1",
        "train.checkpoint_every=5",
    ],
)
def test_what_is_set_stays(override: str) -> None:
    before = custom(f"--config.{override}")
    field = override.partition("=")[0]
    proposal = propose(before, videos_of(20, 60.0, 30, 3.0))
    assert proposal.config.flat()[field] == before.flat()[field]
    assert field not in proposal.reasons
    assert len(proposal.reasons) == len(open_fields(before)) == 8
    assert before.propose
    assert before != proposal.config
    assert not open_fields(proposal.config)
    assert proposal.config.train.epochs <= proposal.config.train.schedule_epochs


def test_strides_are_multiples_of_the_frames_per_position_and_windows_of_the_pyramid() -> None:
    flags = ["--config.data.frames_per_position=3", "--config.model.attention_windows=(9,)"]
    config = propose(custom(*flags), videos_of(20, 30.0, 60, 3.0)).config
    assert config.data.stride == 6  # 3, 6, not 12: at least 6 per second are at most 10 frames
    assert config.data.window == 512  # 300 positions; 32 * 2 * (9 // 2) = 256
    resize = propose(custom("--config.data.sampling=resize"), videos_of(20, 30.0, 30, 3.0)).config
    assert resize.data.window == 192


def test_ignored_labels_and_empty_videos_count_for_nothing() -> None:
    videos = {
        "a": video_of("a", 60, 30, 3.0),
        "b": video_of("b", 900, 30),
        "c": video_of("c", 900, 30, 90.0, label="Ambiguous"),
    }
    config = propose(custom("--config.data.ignore_labels=('Ambiguous',)"), videos).config
    assert config.data.window == 480
    with pytest.raises(UserError, match=r"'training'.*\bsegment\b.*data\.train_subset.*data\.ignore_labels"):
        propose(custom(), {"b": videos["b"]})


def test_a_whole_configuration_is_left_alone() -> None:
    config = load_config(ROOT / "configs/thumos_s.py")
    assert resolve(config, Console(quiet=True)) is config


def test_fields_left_open_come_from_the_run() -> None:
    run = propose(custom(), videos_of(20, 60.0, 30, 3.0)).config
    config = take_open_fields(custom("--config.test.sigma=0.3"), run)
    assert config.test.sigma == 0.3
    config = config.with_fields({"test.sigma": run.test.sigma})
    assert config == run


def test_a_configuration_with_open_fields_is_none_of_a_checkpoint() -> None:
    assert CONFIG in [ROOT / path for path in published_configs()]  # `choose_config` passes over it


# ---- The three commands.


@pytest.fixture(scope="module")
def own_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes a folder with `videos/`, `my.csv` and the weights of the small backbone."""
    folder = tmp_path_factory.mktemp("own")
    generate(folder, seed=3, train_videos=5, test_videos=1, seconds=(3.0, 6.0), workers=1)
    database = json.loads((folder / "annotations.json").read_text())["database"]
    (folder / "videos/test_000.mp4").rename(folder / "NEW.mp4")
    with (folder / "my.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["video", "start", "end", "label"])
        for name, entry in database.items():
            for annotation in entry["annotations"]:
                if name != "test_000":
                    table.writerow([f"{name}.mp4", *annotation["segment"], annotation["label"]])
    state = {key: torch.from_numpy(value) for key, value in videomae_state(0).items()}
    torch.save({"state_dict": state}, folder / "backbone.pth")
    return folder


def run(command: str, folder: Path, *flags: str) -> str:
    """Runs a command in the folder and returns what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": "", "COLUMNS": "200"}
    words = [sys.executable, "-m", *shlex.split(command), *flags]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.slow
def test_three_commands_from_a_folder_to_detections(own_data: Path) -> None:
    (own_data / "configs").symlink_to(ROOT / "configs")
    train, evaluate, detect = (command.replace("DIR", "videos") for command in COMMANDS)
    small = [f"--config.weights={own_data}/backbone.pth", *(f"--config.{k}={v}" for k, v in SMALL.items())]

    said = run(train, own_data, *small)
    assert "--config.data.stride=" in said
    assert "median segment" in said
    written = json.loads((own_data / "runs/custom/config.json").read_text())
    assert written["config"]["data.stride"] >= 1
    assert written["config"]["data.window"] % 16 == 0
    assert 16 <= written["config"]["data.window"] <= 192  # 6 s are at most 180 frames
    assert written["config"]["train.epochs"] == 2
    assert not written["config"]["propose"]
    with (own_data / "my.csv").open() as file:
        labels = sorted({row["label"] for row in csv.DictReader(file)})
    assert written["classes"] == labels

    assert "validation: 1 videos" in run(evaluate, own_data)
    metrics = json.loads((own_data / "runs/custom/metrics.json").read_text())
    assert 0 <= metrics["average_mAP"] <= 1
    results = json.loads((own_data / "runs/custom/results.json").read_text())["results"]
    assert len(results) == 1

    run(detect, own_data)
    found = json.loads((own_data / "found/NEW.json").read_text())
    assert {detection["label"] for detection in found["detections"]} <= set(labels)
    assert (own_data / "found/NEW.png").exists()

    # The configuration with the same flags takes what was chosen from the run.
    flags = shlex.split(train.partition("custom.py")[2])
    trained = load_trained(own_data / "runs/custom", custom(*flags, *small))
    assert trained.config.data.window == written["config"]["data.window"]


def test_readme_shows_the_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(COMMANDS) == 3
    assert all(f"python -m {command}\n" in readme for command in COMMANDS)
