"""The training state, which a run carries from step to step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from adatad_jax.models.layers import Params
from adatad_jax.training.parameters import merge


class TrainState(NamedTuple):
    """The state of a run.

    Attributes:
      step: number of optimiser steps taken, int32 scalar.
      trained: the parameters that are trained.
      frozen: the parameters that never change. They are saved once per run, in float32; a device may have them in
        another dtype (`parameters.with_frozen_in`).
      average: exponential average of the trained parameters.
      optimizer: state of the optimiser, for the trained parameters alone.
      normalizer: the loss normaliser, float32 scalar.
      key: random key data of the run. It never changes: each step folds its number into the key.
    """

    step: jax.Array
    trained: Params
    frozen: Params
    average: Params
    optimizer: Any
    normalizer: jax.Array
    key: jax.Array

    def averaged(self) -> Params:
        """Returns the whole tree with averages of the trained parameters, which is the tree to evaluate."""
        return merge(self.average, self.frozen)


def create_state(
    trained: Params, frozen: Params, optimizer: optax.GradientTransformation, normalizer: float, seed: int
) -> TrainState:
    """Returns the state before the first step, whose average is a copy of the trained parameters.

    Args:
      trained, frozen: from `parameters.split`.
      optimizer: of the trained parameters.
      normalizer: the loss normaliser at the start.
      seed: of the run's random key.
    """
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        trained=trained,
        frozen=frozen,
        average=jax.tree.map(jnp.array, trained),
        optimizer=jax.jit(optimizer.init)(trained),  # one program, not one for each shape
        normalizer=jnp.float32(normalizer),
        key=jax.random.key_data(jax.random.key(seed)),
    )
