"""Checkpoints during a training: when they are saved."""

from collections.abc import Mapping
from typing import Any

import orbax.checkpoint as ocp

from adatad_jax.config.fields import TrainConfig
from adatad_jax.training import checkpoints
from adatad_jax.training.history import Tally
from adatad_jax.training.loop import Hook, Place
from adatad_jax.training.state import TrainState


class SaveCheckpoint(Hook):
    """Saves the state after some epochs, after the last epoch, inside epochs, and when the run is left."""

    def __init__(
        self, manager: ocp.CheckpointManager, train: TrainConfig, tally: Tally, same_data: Mapping[str, Any]
    ) -> None:
        """Prepares to save.

        Args:
          manager: of the run folder's checkpoints.
          train: how often to save.
          tally: of the current epoch; saved in the metadata.
          same_data: what tells the training data from other data; saved in the metadata.
        """
        self._manager, self._train, self._tally, self._same_data = manager, train, tally, same_data
        self._step = 0  # of the last checkpoint

    def due(self, place: Place) -> bool:
        if place.within:
            return self._train.checkpoint_steps > 0 and place.within % self._train.checkpoint_steps == 0
        return place.epoch == self._train.epochs or place.epoch % self._train.checkpoint_every == 0

    def pause(self, place: Place, state: TrainState, record: dict[str, Any]) -> None:
        metadata = {"epoch": place.epoch, **self._same_data, "tally": self._tally.saved(), **record}
        checkpoints.save(self._manager, place.step, state, metadata)
        self._step = place.step

    def leave(self, place: Place, state: TrainState) -> None:
        if place.step != self._step:
            self.pause(place, state, {})
        checkpoints.finish(self._manager)
