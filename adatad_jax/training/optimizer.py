"""Which parameter learns how: label tree, gradient clip, AdamW per group, all as optax transformations."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from adatad_jax.config.fields import Config
from adatad_jax.training.schedule import warmup_cosine

Params = Any

FROZEN, BACKBONE, TIA, HEAD = "frozen", "backbone", "tia", "head"
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
CLIP_EPS = 1e-6


@dataclass(frozen=True)
class OptimizerConfig:
    """Rates and lengths of a run.

    Attributes:
      tia_rate, head_rate: highest learning rates of adapters and detector.
      weight_decay: decoupled decay of the adapters, of a trained backbone and of the detector's kernels.
      clip_norm: largest global L2 norm of the trainable gradients.
      warmup_steps, schedule_steps: W and M of the schedule.
      steps: optimiser steps that will be taken, at most M.
      backbone_rate: highest rate of the backbone itself, in full fine-tuning; 0 leaves it frozen.
    """

    tia_rate: float
    head_rate: float
    weight_decay: float
    clip_norm: float
    warmup_steps: int
    schedule_steps: int
    steps: int
    backbone_rate: float

    @property
    def full(self) -> bool:
        """Whether the whole backbone is trained."""
        return self.backbone_rate > 0


def label(path: tuple[str, ...], full: bool = False) -> str:
    """The group of the parameter at `path`; a path that belongs to none is an error, never a default.

    With `full` the backbone is trained; positions that came with its weights stay fixed even so (release rule).
    """
    if path[0] == "backbone":
        if "tia" in path:
            return TIA
        return BACKBONE if full and path[1] != "pos_embed" else FROZEN
    if path[0] == "detector" and path[1] in ("projection", "neck", "head"):
        return HEAD
    raise ValueError(f"parameter {'/'.join(path)} belongs to no optimiser group")


def decays(path: tuple[str, ...]) -> bool:
    """Whether weight decay applies: all of the backbone and its adapters; in the detector the kernels only."""
    return path[0] == "backbone" or path[-1] == "kernel"


def map_paths(rule: Callable[[tuple[str, ...]], Any], params: Params) -> Any:
    """A tree shaped as `params` with `rule(path)` at every leaf."""
    return jax.tree_util.tree_map_with_path(lambda path, _: rule(tuple(key.key for key in path)), params)


def split(params: Params, full: bool = False) -> tuple[Params, Params]:
    """Trainable and frozen part, each the whole tree with `optax.MaskedNode()` in the other's places."""
    hole = optax.MaskedNode()
    frozen = map_paths(lambda path: label(path, full) == FROZEN, params)
    trainable_part = jax.tree.map(lambda is_frozen, p: hole if is_frozen else p, frozen, params)
    frozen_part = jax.tree.map(lambda is_frozen, p: p if is_frozen else hole, frozen, params)
    return trainable_part, frozen_part


def _is_hole(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)


def merge(trainable: Params, frozen: Params) -> Params:
    """The whole tree again; `frozen` may be a whole tree too, of which the frozen places are taken."""
    return jax.tree.map(lambda t, f: f if _is_hole(t) else t, trainable, frozen, is_leaf=_is_hole)


def trained_like(trainable: Params, params: Params) -> Params:
    """The trainable part of `params`, with holes where `trainable`, a part that was split before, has them."""
    return jax.tree.map(lambda t, p: t if _is_hole(t) else p, trainable, params, is_leaf=_is_hole)


def clip_by_global_norm(limit: float) -> optax.GradientTransformation:
    """`g * min(1, limit / (norm + 1e-6))`, torch's rule; optax's has no 1e-6, which shows near the limit."""

    def update(updates: Params, state: optax.EmptyState, params: Params | None = None) -> tuple[Params, Any]:
        del params
        scale = jnp.minimum(1, limit / (optax.tree.norm(updates) + CLIP_EPS))
        return jax.tree.map(lambda g: g * scale, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


class AdamState(NamedTuple):
    """Steps taken, and the running mean and mean square of the gradient."""

    steps: jax.Array
    mean: Params
    square: Params


def scale_by_adam(steps: int) -> optax.GradientTransformation:
    """Adam's direction, with bias corrections from tables computed in float64.

    `optax.scale_by_adam` computes 1 - 0.999^t in float32, off by 1e-5 relative in the first steps: more than the whole
    tolerance of the parity with PyTorch. `steps` is the length of the tables.
    """
    t = np.arange(1, steps + 1, dtype=np.float64)
    correction1, correction2 = ((1 - beta**t).astype(np.float32) for beta in (BETA1, BETA2))

    def init(params: Params) -> AdamState:
        return AdamState(jnp.zeros((), jnp.int32), optax.tree.zeros_like(params), optax.tree.zeros_like(params))

    def update(updates: Params, state: AdamState, params: Params | None = None) -> tuple[Params, AdamState]:
        del params
        mean = optax.tree.update_moment(updates, state.mean, BETA1, 1)
        square = optax.tree.update_moment(updates, state.square, BETA2, 2)
        by_mean, by_square = jnp.asarray(correction1)[state.steps], jnp.asarray(correction2)[state.steps]
        direction = jax.tree.map(lambda m, s: (m / by_mean) / (jnp.sqrt(s / by_square) + EPS), mean, square)
        return direction, AdamState(state.steps + 1, mean, square)

    return optax.GradientTransformation(init, update)


def adamw(config: OptimizerConfig, rate: float) -> optax.GradientTransformation:
    """AdamW with decoupled decay `rate * decay * p` and the scheduled rate."""
    rates = warmup_cosine(rate, config.warmup_steps, config.schedule_steps, config.steps).astype(np.float32)
    return optax.chain(
        scale_by_adam(config.steps),
        optax.add_decayed_weights(config.weight_decay, mask=lambda params: map_paths(decays, params)),
        optax.scale_by_learning_rate(lambda count: jnp.asarray(rates)[count]),
    )


def make_optimizer(config: OptimizerConfig, params: Params) -> optax.GradientTransformation:
    """Clip, then frozen / backbone / tia / head over the whole tree of `params`.

    Updates carry `optax.MaskedNode()` in the frozen places (`split`), so the clip sees exactly the trainable gradients
    and no frozen zero, gradient or moment ever exists.
    """
    groups = {
        FROZEN: optax.set_to_zero(),
        TIA: adamw(config, config.tia_rate),
        HEAD: adamw(config, config.head_rate),
    }
    if config.full:
        groups[BACKBONE] = adamw(config, config.backbone_rate)
    labels = map_paths(lambda path: label(path, config.full), params)
    return optax.chain(clip_by_global_norm(config.clip_norm), optax.multi_transform(groups, labels))


class Group(NamedTuple):
    """One row of the table printed at the start of a run."""

    name: str
    tensors: int
    parameters: int
    rate: float
    weight_decay: float


def parameter_groups(config: OptimizerConfig, params: Params) -> list[Group]:
    """Every group of parameters with its size, rate and decay; the rows' sums are the whole tree."""
    rates = {FROZEN: 0.0, BACKBONE: config.backbone_rate, TIA: config.tia_rate, HEAD: config.head_rate}
    members: dict[tuple[str, float], list[int]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        names = tuple(key.key for key in path)
        group = label(names, config.full)
        decay = config.weight_decay if group != FROZEN and decays(names) else 0.0
        members.setdefault((group, decay), []).append(int(np.prod(leaf.shape)))
    order = [FROZEN, BACKBONE, TIA, HEAD]
    return [
        Group(name, len(sizes), sum(sizes), rates[name], decay)
        for (name, decay), sizes in sorted(members.items(), key=lambda item: (order.index(item[0][0]), -item[0][1]))
    ]


def make_optimizer_config(config: Config, steps_per_epoch: int) -> OptimizerConfig:
    train = config.train
    return OptimizerConfig(
        tia_rate=train.tia_rate,
        head_rate=train.head_rate,
        backbone_rate=train.backbone_rate if config.model.adaptation == "full" else 0.0,
        weight_decay=train.weight_decay,
        clip_norm=train.clip_norm,
        warmup_steps=train.warmup_epochs * steps_per_epoch,
        schedule_steps=train.schedule_epochs * steps_per_epoch,
        steps=train.epochs * steps_per_epoch,
    )
