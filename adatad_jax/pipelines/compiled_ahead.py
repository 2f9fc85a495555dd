"""Compilation of the training step before there is a batch: the first batch is loaded meanwhile."""

from adatad_jax.config.fields import Config
from adatad_jax.data.loader import training_batch
from adatad_jax.devices.choice import Sharing
from adatad_jax.devices.compilation import uncollected
from adatad_jax.devices.placing import placed_shapes
from adatad_jax.training.state import TrainState
from adatad_jax.training.step import Step


def compile_ahead(step: Step, config: Config, sharing: Sharing, segment_rows: int, state: TrainState) -> None:
    """Compiles a training step for the batches of a run. JAX keeps the program: the first call of the step finds it.

    Args:
      step: mapped over the devices, which are of this process.
      config: of the run.
      sharing: how the devices share a batch.
      segment_rows: rows of ground truth of a window.
      state: on the devices.
    """
    window = training_batch([None], config, segment_rows)
    length = window.frames.shape[1] // sharing.shares
    part = window._replace(frames=window.frames[:, :length])
    batch = placed_shapes(part, config.train.batch_size // sharing.groups, sharing.devices)
    with uncollected():
        lowered = step.lower(state, batch)  # type: ignore[attr-defined]
    lowered.compile()
