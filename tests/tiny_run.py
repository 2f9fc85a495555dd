"""A whole training that takes seconds: a few videos of a moving square, a tiny detector, and what it writes."""

import io
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from adatad_jax.config.fields import Config
from adatad_jax.conversion.torch_file import write_tensors
from adatad_jax.pipelines.train_detector import train
from adatad_jax.training.history import read_history
from adatad_jax.training.state import TrainState
from adatad_jax.weights.convert_file import convert_file
from tests.tiny_detector import moving_square, tiny_config, write_video
from tests.tiny_videomae import videomae_state

FRAMES, FPS = 90, 30
CLASSES = ("dance", "jump")


def make_data(folder: Path, videos: int) -> Path:
    """Writes videos, their annotations (two segments each), and converted weights; returns the folder."""
    (folder / "videos").mkdir(parents=True)
    picture, times = moving_square(FRAMES), np.arange(FRAMES) / FPS
    database = {}
    for number in range(videos):
        write_video(folder / f"videos/v{number}.mkv", np.roll(picture, 7 * number, 0), times)
        segments = [("jump", [0.3, 1.0]), ("dance", [1.4, 2.4])]
        database[f"v{number}"] = {
            "subset": "training",
            "duration": FRAMES / FPS,
            "frame": FRAMES,
            "annotations": [{"label": label, "segment": segment} for label, segment in segments],
        }
    (folder / "all.json").write_text(json.dumps({"database": database}))
    write_tensors(folder / "videomae.pth", videomae_state(0))
    convert_file(folder / "videomae.pth", folder / "weights")
    return folder


def annotate(data: Path, name: str, videos: range, **changed: list[dict[str, Any]]) -> Path:
    """Writes annotations of some of the videos, with other segments for those that are named; returns the file."""
    database = json.loads((data / "all.json").read_text())["database"]
    kept = {f"v{number}": database[f"v{number}"] for number in videos}
    for video, segments in changed.items():
        kept[video] = {**kept[video], "annotations": segments}
    (data / name).write_text(json.dumps({"database": kept}))
    return data / name


def run_config(data: Path, annotations: Path, **fields: Any) -> Config:
    """Returns a configuration of a run; fields are named with `__` for the dot."""
    return tiny_config().with_fields(
        {
            "weights": str(data / "weights"),
            "data.videos": str(data / "videos"),
            "data.annotations": str(annotations),
            "data.in_memory": True,
            "data.random_resized_crop": False,
            "data.rand_augment": False,
            "data.color_jitter": False,
            "data.window": 16,
            "model.width": 8,
            "model.embed": 1,
            "model.stem": 0,
            "model.branch": 1,
            "model.head_convs": 0,
            "model.regression_ranges": ((0, 8), (8, 10000)),
            "train.batch_size": 2,
            "train.epochs": 2,
            "train.schedule_epochs": 6,
            "train.warmup_epochs": 1,
            "train.release_gpus": 1,
            "train.checkpoint_every": 1,
            **{name.replace("__", "."): value for name, value in fields.items()},
        }
    )


def trained(config: Config, workdir: Path) -> tuple[TrainState, str]:
    """Trains; returns the last state and what was printed."""
    console = Console(record=True, width=200, file=io.StringIO())
    state = train(config, workdir, console)
    return state, console.export_text()


def epochs_of(workdir: Path) -> list[tuple[int, int]]:
    """Epoch and step of every record in the history."""
    return [(record["epoch"], record["step"]) for record in read_history(workdir)]


def same(one: Any, other: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, other)
