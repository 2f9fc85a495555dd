"""Checkpoints during a training: when they are saved."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from adatad_jax.config.run_fields import StepsConfig
from adatad_jax.training.checkpoints import snapshot
from adatad_jax.training.evaluating import is_evaluated
from adatad_jax.training.history import Tally
from adatad_jax.training.loop import Done, Hook, Place
from adatad_jax.training.retention import Retention
from adatad_jax.training.state import TrainState
from adatad_jax.training.writing import CheckpointWriter


class SaveCheckpoint(Hook):
    """Saves the state after some epochs, every evaluated one and the last, inside epochs by steps and minutes, and when
    the run is left.

    It stands before the evaluation in the list of hooks, so that one that fails loses nothing. With several processes
    it belongs to the first alone, which has the whole state: its clock decides, and the others need not know.
    """

    def __init__(
        self,
        writer: CheckpointWriter,
        retention: Retention,
        train: StepsConfig,
        tally: Tally,
        same_data: Mapping[str, Any],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepares to save.

        Args:
          writer: of the run's checkpoints.
          retention: which of them are kept; it learns which epochs end where.
          train: how often to save, and to evaluate.
          tally: of the current epoch; saved in the metadata.
          same_data: what tells the training data from other data; saved in the metadata.
          clock: returns seconds.
        """
        self._writer, self._retention, self._train, self._tally = writer, retention, train, tally
        self._same_data, self._clock = same_data, clock
        self._last = clock()  # when a checkpoint was saved
        self._step = 0  # of that checkpoint

    def after_step(self, done: Done) -> None:
        self._writer.check()

    def due(self, place: Place) -> bool:
        train = self._train
        if 0 < train.checkpoint_minutes <= (self._clock() - self._last) / 60:
            return True
        if place.within:
            return train.checkpoint_steps > 0 and place.within % train.checkpoint_steps == 0
        ends = place.epoch == train.epochs or place.epoch % train.checkpoint_every == 0
        return ends or is_evaluated(place.epoch, train)

    def pause(self, place: Place, state: TrainState, record: dict[str, Any]) -> None:
        if not place.within and record:
            self._retention.epochs[place.step] = record  # the evaluation adds its score to this very record
        metadata = {"epoch": place.epoch, **self._same_data, "tally": self._tally.saved(), "record": dict(record)}
        self._writer.write(snapshot(place.step, state, metadata))
        self._last, self._step = self._clock(), place.step

    def leave(self, place: Place, state: TrainState) -> None:
        if place.step != self._step:
            self.pause(place, state, {})
        self._writer.finish()
