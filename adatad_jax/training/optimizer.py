"""Gradient clipping, and AdamW per group of parameters, as optax transformations."""

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from adatad_jax.config.fields import Config
from adatad_jax.models.layers import Params
from adatad_jax.training.parameters import BACKBONE, FROZEN, HEAD, TIA, decays, label, map_paths
from adatad_jax.training.schedule import warmup_cosine

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
CLIP_EPS = 1e-6


@dataclass(frozen=True)
class OptimizerConfig:
    """Learning rates and lengths of a run.

    Attributes:
      tia_rate, head_rate: highest learning rates of adapters and detector.
      weight_decay: decoupled decay of the adapters, of a trained backbone and of the detector's kernels.
      clip_norm: largest global L2 norm of the trained parameters' gradient.
      warmup_steps, schedule_steps: W and M of the schedule (`warmup_cosine`).
      steps: number of optimiser steps that will be taken.
      backbone_rate: highest learning rate of the backbone, in full fine-tuning; 0 leaves the backbone frozen.
      shift: steps by which the schedule is ahead of the steps taken. It is 0, unless the run was continued with epochs
        of another length: its epochs then count, not its steps.
    """

    tia_rate: float
    head_rate: float
    weight_decay: float
    clip_norm: float
    warmup_steps: int
    schedule_steps: int
    steps: int
    backbone_rate: float
    shift: int = 0

    @property
    def rates(self) -> dict[str, float]:
        """Returns the highest learning rate of every group that may learn."""
        return {BACKBONE: self.backbone_rate, TIA: self.tia_rate, HEAD: self.head_rate}

    @property
    def full(self) -> bool:
        """Tells whether the whole backbone is trained."""
        return self.backbone_rate > 0

    def scheduled(self, rate: float) -> np.ndarray:
        """Returns the learning rate of every step.

        Args:
          rate: highest learning rate.

        Returns:
          `[steps]` float64.

        Raises:
          UserError: the schedule is impossible (`warmup_cosine`).
        """
        return warmup_cosine(rate, self.warmup_steps, self.schedule_steps, self.steps, self.shift)


def clip_by_global_norm(limit: float) -> optax.GradientTransformation:
    """Scales gradients by `min(1, limit / (norm + 1e-6))`, with the global L2 norm.

    This is torch's `clip_grad_norm_`. The rule of optax has no 1e-6, which makes a difference near the limit.
    """

    def update(updates: Params, state: optax.EmptyState, params: Params | None = None) -> tuple[Params, Any]:
        del params
        scale = jnp.minimum(1, limit / (optax.tree.norm(updates) + CLIP_EPS))
        return jax.tree.map(lambda g: g * scale, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


class AdamState(NamedTuple):
    """State of Adam.

    Attributes:
      steps: number of steps taken, int32 scalar.
      mean, square: running mean of the gradient and of its square.
    """

    steps: jax.Array
    mean: Params
    square: Params


def scale_by_adam(steps: int, beta2: float = BETA2) -> optax.GradientTransformation:
    """Computes Adam's direction, with bias corrections from tables in float64.

    `optax.scale_by_adam` computes 1 - 0.999^t in float32. Its relative error of 1e-5 in the first steps is more than
    the whole tolerance of the parity with PyTorch.

    Args:
      steps: length of the tables, at least the number of steps that will be taken.
      beta2: decay of the squared gradient.
    """
    t = np.arange(1, steps + 1, dtype=np.float64)
    correction1, correction2 = ((1 - beta**t).astype(np.float32) for beta in (BETA1, beta2))

    def init(params: Params) -> AdamState:
        return AdamState(jnp.zeros((), jnp.int32), optax.tree.zeros_like(params), optax.tree.zeros_like(params))

    def update(updates: Params, state: AdamState, params: Params | None = None) -> tuple[Params, AdamState]:
        del params
        mean = optax.tree.update_moment(updates, state.mean, BETA1, 1)
        square = optax.tree.update_moment(updates, state.square, beta2, 2)
        by_mean, by_square = jnp.asarray(correction1)[state.steps], jnp.asarray(correction2)[state.steps]
        direction = jax.tree.map(lambda m, s: (m / by_mean) / (jnp.sqrt(s / by_square) + EPS), mean, square)
        return direction, AdamState(state.steps + 1, mean, square)

    return optax.GradientTransformation(init, update)


def adamw(config: OptimizerConfig, rate: float) -> optax.GradientTransformation:
    """Makes AdamW with decoupled decay `rate * decay * p` and the scheduled rate.

    Args:
      config: decay and lengths of the schedule.
      rate: highest learning rate.

    Raises:
      UserError: the schedule is impossible (`warmup_cosine`).
    """
    rates = config.scheduled(rate).astype(np.float32)
    return optax.chain(
        scale_by_adam(config.steps),
        optax.add_decayed_weights(config.weight_decay, mask=lambda params: map_paths(decays, params)),
        optax.scale_by_learning_rate(lambda count: jnp.asarray(rates)[count]),
    )


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """Makes the optimiser of a run: gradient clipping, then AdamW for each group of parameters (`parameters.label`).

    It is meant for the trained parameters alone (`parameters.split`), so that the norm to clip is theirs and no moments
    of frozen parameters exist. In a whole tree, the updates of frozen parameters are zero.

    Raises:
      UserError: the schedule is impossible (`warmup_cosine`).
    """
    groups = {
        FROZEN: optax.set_to_zero(),
        TIA: adamw(config, config.tia_rate),
        HEAD: adamw(config, config.head_rate),
    }
    if config.full:
        groups[BACKBONE] = adamw(config, config.backbone_rate)
    labels = functools.partial(map_paths, functools.partial(label, full=config.full))
    return optax.chain(clip_by_global_norm(config.clip_norm), optax.multi_transform(groups, labels))


def make_optimizer_config(config: Config, steps_per_epoch: int, shift: int = 0) -> OptimizerConfig:
    """Returns the optimiser's settings of a configuration, with epochs converted to steps.

    Args:
      config: of the run.
      steps_per_epoch: of the run's epochs from now on.
      shift: as in `OptimizerConfig`.
    """
    train = config.train
    return OptimizerConfig(
        tia_rate=train.tia_rate,
        head_rate=train.head_rate,
        backbone_rate=train.backbone_rate if config.model.adaptation == "full" else 0.0,
        weight_decay=train.weight_decay,
        clip_norm=train.clip_norm,
        warmup_steps=train.warmup_epochs * steps_per_epoch,
        schedule_steps=train.schedule_epochs * steps_per_epoch,
        steps=train.epochs * steps_per_epoch - shift,
        shift=shift,
    )


def group_rates(config: OptimizerConfig) -> dict[str, np.ndarray]:
    """Returns group of parameters that may learn -> `[steps]` float64 learning rates of all steps."""
    return {group: config.scheduled(rate) for group, rate in config.rates.items() if rate}
