"""How a training fits its devices: the policy of memory, chosen once and kept for the rest of the run."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
from rich.console import Console

from adatad_jax.config.build import make_detector, make_vit
from adatad_jax.config.fields import Config
from adatad_jax.config.memory import MemoryChoice, budget_of, choose_policy
from adatad_jax.devices.choice import Sharing
from adatad_jax.devices.memory import least_available
from adatad_jax.devices.processes import ALONE, Processes
from adatad_jax.inference.fitting import evaluated_chunks, inference_policy
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.models.memory_estimate import Work
from adatad_jax.training.memory import memory_savings


def training_policy(
    config: Config,
    sharing: Sharing,
    classes: int,
    kept: Mapping[str, Any] | None,
    console: Console,
    processes: Processes = ALONE,
    platform: str | None = None,
) -> MemoryChoice:
    """Chooses how a training fits its devices, and prints it; a run that is continued keeps what it has.

    Args:
      config: of the run, without open fields.
      sharing: how devices share a batch.
      classes: number of classes.
      kept: what the run was computed with so far (`read_policy`); None: it has not begun.
      console: where to report.
      processes: that train together; all choose the same.
      platform: for which to choose, as `--platform` names it; None: that of the devices.

    Raises:
      UserError: the training does not fit; the message says what would.
    """
    available, device = least_available(sharing.devices) if platform is None else (None, platform)
    everywhere = processes.post("memory of a device", available)()
    budget = budget_of(config.model, None if None in everywhere else min(everywhere), device)
    smallest = config.with_fields({"model.remat": True, "model.attention_chunks": 1, "model.mlp_chunks": 1})
    backend = jax.default_backend() if platform is None else {"cuda": "gpu"}.get(platform, platform)
    work = training_work(config, sharing, classes, backend)
    choice = choose_policy(config.model, work, budget, kept, memory_savings(smallest, of_device=True))
    console.print(choice.describe(), highlight=False)
    return choice


def evaluated(model: AdaTAD, config: Config, sharing: Sharing) -> AdaTAD:
    """Returns the model as evaluations inside a training compute it.

    Its policy is that of the training, which needs more. A device that trains on a share of a window evaluates whole
    windows: a block computes no more of their chunks at once than in training. A training that reads stored features in
    place of frames has no such policy: one is chosen.

    Args:
      model: as it is trained.
      config: of the run, without open fields.
      sharing: how devices share a batch in training.

    Raises:
      UserError: it does not fit; the message says what would.
    """
    classes = model.detector_config.classes
    if config.train.cache_features:
        return dataclasses.replace(model, policy=inference_policy(config, classes, config.test.batch_size).policy)
    trained = training_work(config, sharing, classes, jax.default_backend()).chunks
    if model.policy.attention_chunks or evaluated_chunks(config) <= trained:
        return model
    return dataclasses.replace(model, policy=dataclasses.replace(model.policy, attention_chunks=trained))


def training_work(config: Config, sharing: Sharing, classes: int, backend: str) -> Work:
    """Returns what a training computes at once on each device.

    Args:
      config: of the run, without open fields.
      sharing: how devices share a batch.
      classes: number of classes.
      backend: as JAX names it.
    """
    data, train = config.data, config.train
    return Work(
        vit=make_vit(config.model),
        detector=make_detector(config, classes),
        windows=train.batch_size // train.accumulate // sharing.groups,
        frames=data.window * data.frames_per_position // sharing.shares,
        side=data.crop,
        dtype=config.model.dtype,
        frozen_dtype=config.model.frozen_dtype,
        platform=backend,
        is_training=True,
        is_full=config.model.adaptation == "full",
        has_backbone=not train.cache_features,
        parts=train.accumulate,
    )
