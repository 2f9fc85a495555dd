"""One training step: state in, state out, the same on one device and on N."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from adatad_jax.augmentation.augment import augment
from adatad_jax.data.batch import Batch
from adatad_jax.detection.losses import loss_sums, update_normalizer
from adatad_jax.detection.objective import LossConfig
from adatad_jax.detection.points import make_points
from adatad_jax.detection.proposals import flatten_levels
from adatad_jax.detection.targets import assign_targets
from adatad_jax.devices import AXIS, map_over_devices
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.training.optimizer import merge, split, trained_like

Params = Any


class TrainState(NamedTuple):
    """All that a run carries from step to step.

    Attributes:
      step: optimiser steps taken, int32 scalar.
      params: the whole parameter tree.
      ema: exponential average of the trainable parameters; `optax.MaskedNode()` in the frozen places.
      opt_state: of the trainable parameters only.
      normalizer: the loss normaliser, float32 scalar.
      key: random key data of the run; never changes, a step folds its number in.
    """

    step: jax.Array
    params: Params
    ema: Params
    opt_state: Any
    normalizer: jax.Array
    key: jax.Array

    def averaged_params(self) -> Params:
        """The whole tree with averaged trainable parameters: what is evaluated."""
        return merge(self.ema, self.params)


class Metrics(NamedTuple):
    """Scalars of one step, of the global batch: losses as optimised, gradient norm before clipping, positives."""

    loss: jax.Array
    classification: jax.Array
    regression: jax.Array
    grad_norm: jax.Array
    positives: jax.Array
    normalizer: jax.Array


def create_state(
    params: Params, optimizer: optax.GradientTransformation, config: LossConfig, seed: int, *, full: bool = False
) -> TrainState:
    """The state before the first step; the average starts as a copy. `full`: the whole backbone is trained."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        ema=jax.tree.map(jnp.array, split(params, full)[0]),
        opt_state=optimizer.init(params),
        normalizer=jnp.float32(config.normalizer_start),
        key=jax.random.key_data(jax.random.key(seed)),
    )


def make_train_step(
    model: AdaTAD, optimizer: optax.GradientTransformation, config: LossConfig, ema_decay: float
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """The step of one device of the axis "data"; to be pmapped (`map_step`).

    Losses and positives are summed over the axis before the normaliser divides them, so N devices that share a batch
    compute what one does. Random draws depend on the step and a sample's id alone.
    """
    detector = model.detector_config

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        trainable, frozen = trained_like(state.ema, state.params), state.params
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
        frames = augment(batch.frames, batch.augmentation)

        def local_loss(trainable: Params) -> tuple[jax.Array, tuple[jax.Array, ...]]:
            predictions: Any = model.apply(
                {"params": merge(trainable, frozen)},
                frames,
                batch.mask,
                batch.sample_ids,
                rngs={"dropout": key},
            )
            logits, distances, mask = flatten_levels(predictions)
            mask &= batch.weight[:, None] > 0
            points = make_points(detector, predictions.masks[0].shape[1])
            targets = assign_targets(
                points, mask, batch.segments, batch.labels, detector.classes, config.all_candidates
            )
            sums = loss_sums(points, mask, logits, distances, targets, config.label_smoothing)
            positives = jax.lax.psum(sums.positives, AXIS)
            normalizer = update_normalizer(state.normalizer, positives, config.release_gpus)
            divisor = normalizer * config.release_gpus
            classification = sums.classification / divisor
            regression = config.regression_weight * sums.regression / divisor
            return classification + regression, (classification, regression, positives, normalizer)

        gradients, (classification, regression, positives, normalizer) = jax.grad(local_loss, has_aux=True)(trainable)
        gradients, classification, regression = jax.lax.psum((gradients, classification, regression), AXIS)
        updates, opt_state = optimizer.update(gradients, state.opt_state, trainable)
        trainable = optax.apply_updates(trainable, updates)
        ema = jax.tree.map(lambda e, p: ema_decay * e + (1 - ema_decay) * p, state.ema, trainable)
        metrics = Metrics(
            loss=classification + regression,
            classification=classification,
            regression=regression,
            grad_norm=optax.tree.norm(gradients),
            positives=positives,
            normalizer=normalizer,
        )
        state = state._replace(
            step=state.step + 1,
            params=merge(trainable, frozen),
            ema=ema,
            opt_state=opt_state,
            normalizer=normalizer,
        )
        return state, metrics

    return step


def map_step(
    step: Callable[[TrainState, Batch], tuple[TrainState, Metrics]],
    devices: Sequence[jax.Device] | None = None,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Maps a step over devices: the batch has a leading device axis, the state none and is donated."""
    return map_over_devices(step, devices, in_axes=(None, 0), out_axes=(None, 0), donate=(0,))
