"""Trainings on clips that take seconds, and what they read."""

import io
from pathlib import Path

import numpy as np
from rich.console import Console

from adatad_jax.config.clip_fields import FinetuningConfig, PretrainingConfig
from adatad_jax.config.load import RecordT
from tests.tiny_detector import moving_square, write_video

FRAMES, FPS = 40, 30
LABELS = ("down", "right")


def make_videos(folder: Path, each: int) -> Path:
    """Writes `LABEL/n.mkv`, videos of a square that moves right or down; returns the folder."""
    for label in LABELS:
        (folder / label).mkdir(parents=True)
        picture = moving_square(FRAMES)
        turned = picture if label == "right" else picture.swapaxes(1, 2)
        for number in range(each):
            shifted = np.ascontiguousarray(np.roll(turned, 5 * number, 0))
            write_video(folder / label / f"{number}.mkv", shifted, np.arange(FRAMES) / FPS)
    return folder


def small(config: RecordT, videos: Path, **fields: object) -> RecordT:
    """Returns a configuration of a run of two epochs on these videos; fields are named with `__` for the dot."""
    return config.with_fields(
        {
            "data.videos": str(videos),
            "data.in_memory": True,
            "data.threads": 2,
            "data.retries": 0,
            "data.stride": 2,
            "data.short_side": 36,
            "data.crop": 32,
            "model.size": "tiny",
            "model.image_size": 32,
            "model.dtype": "float32",
            "train.batch_size": 2,
            "train.epochs": 2,
            "train.schedule_epochs": 4,
            "train.warmup_epochs": 1,
            "train.rate": 0.1,
            "train.checkpoint_every": 1,
            "train.eval_every": 1,
            **{name.replace("__", "."): value for name, value in fields.items()},
        }
    )


def pretraining(videos: Path, **fields: object) -> PretrainingConfig:
    """Returns the configuration of a pre-training: 2 of 4 patches masked."""
    return small(PretrainingConfig(), videos, **{"model__mask_ratio": 0.5, **fields})


def finetuning(videos: Path, **fields: object) -> FinetuningConfig:
    """Returns the configuration of a fine-tuning."""
    return small(FinetuningConfig(), videos, **{"test__clips": 2, "test__crops": 1, **fields})


def recording() -> Console:
    return Console(record=True, width=200, file=io.StringIO())
