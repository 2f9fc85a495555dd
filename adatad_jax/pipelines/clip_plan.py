"""What the two trainings on clips compute with: schedule, optimiser and step."""

import functools
from typing import TypeVar

from adatad_jax.config.clip_fields import FinetuningConfig, PretrainingConfig
from adatad_jax.devices.choice import Sharing
from adatad_jax.models.layers import Params
from adatad_jax.pipelines.task import Plan
from adatad_jax.training.clip_optimizer import make_clip_optimizer
from adatad_jax.training.clip_parameters import CLIP_GROUPS
from adatad_jax.training.forgiving import forgiving
from adatad_jax.training.optimizer import BETA2
from adatad_jax.training.parameters import FROZEN, group_norms
from adatad_jax.training.pretraining_schedule import scaled_rates
from adatad_jax.training.step import Loss, make_train_step, map_step

ModelT = TypeVar("ModelT")


def make_clip_plan(
    config: PretrainingConfig | FinetuningConfig,
    model: ModelT,
    loss: Loss,
    groups: tuple[str, ...],
    sharing: Sharing,
    steps_per_epoch: int,
    beta2: float = BETA2,
    factors: Params | None = None,
    shift: int = 0,
) -> Plan[ModelT]:
    """Returns what a training on clips computes with.

    Args:
      config: of the run.
      model: the network.
      loss: of the network.
      groups: of its parameters, the one to show first.
      sharing: how devices share a batch.
      steps_per_epoch: of the run.
      beta2, factors: as for `make_clip_optimizer`.
      shift: as in `OptimizerConfig`.

    Raises:
      UserError: the schedule of the learning rates is impossible.
    """
    train = config.train
    rates = scaled_rates(
        train.rate,
        train.end_rate,
        train.batch_size,
        train.warmup_epochs * steps_per_epoch,
        train.schedule_epochs * steps_per_epoch,
        train.epochs * steps_per_epoch - shift,
        shift,
    )
    optimizer = make_clip_optimizer(rates, train.weight_decay, beta2, train.clip_norm, factors)
    norms = functools.partial(group_norms, groups=CLIP_GROUPS)
    step = make_train_step(loss, optimizer, train.ema, train.accumulate, norms)
    if train.skip_bad_steps:
        step = forgiving(step)
    return Plan(
        devices=sharing.devices,
        model=model,
        memory={"remat": config.model.remat},
        groups=CLIP_GROUPS._replace(names=(FROZEN, *groups)),
        optimizer=optimizer,
        rates=dict.fromkeys(groups, rates),
        peaks=dict.fromkeys(groups, float(rates.max(initial=0))),
        weight_decay=train.weight_decay,
        step=map_step(step, sharing.devices),
        normalizer=1.0,
        frozen_dtype="float32",
        rate_fields=("--config.train.rate",),
    )
