"""Which checkpoints of a run are kept, and which is the best; imports no library, as every command needs the names."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from adatad_jax.training.scores import EpochRecord, rank_of

LATEST, BEST = "latest", "best"
Choice = int | str  # of a checkpoint: a step, `LATEST` or `BEST`
KEPT_INSIDE = 2  # of the checkpoints inside epochs: the latest, and the one before in case it is damaged


class Retention:
    """Keeps the latest checkpoints at ends of epochs, the best evaluated one and the latest inside epochs, each apart.

    This is a `PreservationPolicy` of the checkpoint library.

    Attributes:
      epochs: step -> record of the epoch that ends there. An epoch is evaluated after its checkpoint is written; its
        record then gets the score.
    """

    def __init__(self, latest: int, evaluated: bool, records: Sequence[EpochRecord] = ()) -> None:
        """Prepares to decide.

        Args:
          latest: number of checkpoints at ends of epochs that are kept.
          evaluated: whether those of all evaluated epochs are kept too.
          records: of the run's history so far.
        """
        self.epochs: dict[int, EpochRecord] = {record["step"]: record for record in records}
        self._latest, self._evaluated = latest, evaluated

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        """Tells for each checkpoint, by rising step, whether it is kept; called by the library after each save."""
        kept = kept_steps([info.step for info in checkpoints], dict(self.epochs), self._latest, self._evaluated)
        return [info.step in kept for info in checkpoints]


def kept_steps(steps: Sequence[int], epochs: Mapping[int, EpochRecord], latest: int, evaluated: bool) -> set[int]:
    """Selects the checkpoints that are kept.

    Args:
      steps: of all checkpoints, rising.
      epochs: step -> record of the epoch that ends there; other steps are inside epochs.
      latest: number of checkpoints at ends of epochs that are kept.
      evaluated: whether those of all evaluated epochs are kept too.
    """
    ends = [step for step in steps if step in epochs]
    inside = [step for step in steps if step not in epochs]
    best = best_step(steps, epochs)
    scored = [step for step in ends if rank_of(epochs[step]) is not None] if evaluated else []
    return {*ends[-latest:], *inside[-KEPT_INSIDE:], *scored, *([] if best is None else [best])}


def best_step(steps: Collection[int], epochs: Mapping[int, EpochRecord]) -> int | None:
    """Returns the step of the best evaluation, the earliest of equal ones; None if none of the steps was evaluated.

    Args:
      steps: to choose from.
      epochs: step -> record of the epoch that ends there.
    """
    scores = {step: rank for step in sorted(steps) if (rank := rank_of(epochs.get(step, {}))) is not None}
    return max(scores, key=lambda step: scores[step]) if scores else None
