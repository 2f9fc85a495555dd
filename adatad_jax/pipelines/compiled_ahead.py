"""Compilation of the training step before there is a batch: the first batch is loaded meanwhile."""

from typing import Any

from adatad_jax.devices.choice import Sharing
from adatad_jax.devices.compilation import uncollected
from adatad_jax.devices.placing import placed_shapes
from adatad_jax.training.state import TrainState
from adatad_jax.training.step import Step


def compile_ahead(step: Step, row: Any, rows: int, sharing: Sharing, state: TrainState) -> None:
    """Compiles a training step for the batches of a run. JAX keeps the program: the first call of the step finds it.

    Args:
      step: mapped over the devices, which are of this process.
      row: a batch `[1, ...]` of one row.
      rows: of a batch of the run.
      sharing: how the devices share a batch.
      state: on the devices.
    """
    part = row.part(slice(None), slice(row.frames.shape[1] // sharing.shares))
    batch = placed_shapes(part, rows // sharing.groups, sharing.devices)
    with uncollected():
        lowered = step.lower(state, batch)  # type: ignore[attr-defined]
    lowered.compile()
