"""What makes a training on clips the run that it is, checked against its folder."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from adatad_jax.config.clip_fields import FinetuningConfig, PretrainingConfig
from adatad_jax.devices.processes import is_first
from adatad_jax.pipelines.task import Run
from adatad_jax.training.weights_and_biases import check_wandb
from adatad_jax.weights.changes import Changes, check_fields, check_videos
from adatad_jax.weights.run_folder import check_unlocked


def check_folder(workdir: Path, config: PretrainingConfig | FinetuningConfig) -> None:
    """Checks what needs no video: no other training runs in the folder, and what shows the run is installed.

    Raises:
      UserError: another one runs there, or Weights & Biases is asked for and missing.
    """
    if is_first():
        check_unlocked(workdir)
    check_wandb(config.train.wandb)


def make_run(
    workdir: Path,
    config: PretrainingConfig | FinetuningConfig,
    classes: tuple[str, ...],
    videos: Mapping[str, str],
    steps_per_epoch: int,
) -> Run:
    """Returns what the run's folder must agree with.

    Args:
      workdir: the folder, which need not exist.
      config: of the run.
      classes: class names; none in pre-training.
      videos: name -> fingerprint of a training video.
      steps_per_epoch: of the run.

    Raises:
      UserError: the folder holds another run.
    """
    changes = Changes(
        check_fields(workdir, config, classes), check_videos(workdir, videos, config.train.resume_with_changes)
    )
    order = {
        "steps_per_epoch": steps_per_epoch,
        "videos": len(videos),
        "videos_sha256": hashlib.sha256("\n".join(videos).encode()).hexdigest(),
        "batch_size": config.train.batch_size,
        "clips": config.data.clips,
    }
    return Run(workdir, config, classes, order, dict(videos), changes)
