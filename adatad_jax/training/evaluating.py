"""Evaluation during a training."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adatad_jax.config.run_fields import StepsConfig
from adatad_jax.models.layers import Params
from adatad_jax.training.checkpoints import Saved
from adatad_jax.training.leaving import Leaving
from adatad_jax.training.loop import Hook, Place
from adatad_jax.training.scores import rank_of
from adatad_jax.training.state import TrainState


class Evaluate(Hook):
    """Evaluates the averaged parameters after some epochs."""

    def __init__(self, train: StepsConfig, measure: Callable[[Params], dict[str, Any]], leaving: Leaving) -> None:
        """Prepares to evaluate.

        Args:
          train: first epoch and interval of evaluations.
          measure: returns what the record shall hold of a whole parameter tree on the devices, as JSON values: its
            score (`scores.SCORES`), and what else is measured.
          leaving: may interrupt an evaluation.
        """
        self._train, self._measure, self._leaving = train, measure, leaving

    def due(self, place: Place) -> bool:
        return place.within == 0 and is_evaluated(place.epoch, self._train)

    def pause(self, place: Place, state: TrainState, record: dict[str, Any]) -> None:
        with self._leaving.at_once(f"in the evaluation after epoch {place.epoch}"):
            record |= self._measure(state.averaged())


def is_evaluated(epoch: int, train: StepsConfig) -> bool:
    """Tells whether a run evaluates after an epoch.

    Args:
      epoch: counted from 1.
      train: first epoch and interval of evaluations; the last epoch is evaluated too.
    """
    first, is_last = train.eval_from, epoch == train.epochs
    return 0 < first <= epoch and (is_last or (epoch - first) % train.eval_every == 0)


def unfinished_epoch(saved: Saved, history: Sequence[Mapping[str, Any]], train: StepsConfig) -> dict[str, Any] | None:
    """Returns the record of the epoch that a checkpoint ends, if its evaluation or its line in the history is missing.

    A checkpoint is saved before its epoch is evaluated and recorded, so that an interruption there loses nothing.

    Args:
      saved: the checkpoint from which a run goes on.
      history: of the run.
      train: first epoch and interval of evaluations.
    """
    if saved.metadata["tally"]:  # inside an epoch
        return None
    recorded = next((record for record in history if record["step"] == saved.step), None)
    record = recorded or saved.metadata.get("record")
    if not record or (recorded and (rank_of(record) is not None or not is_evaluated(record["epoch"], train))):
        return None
    return dict(record)
