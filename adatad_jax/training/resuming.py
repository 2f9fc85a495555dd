"""Where a run goes on: in the middle of its epoch, or at the start of that epoch where epochs have changed."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from adatad_jax.training.history import Tally


class Resumed(NamedTuple):
    """Where a run goes on.

    Attributes:
      tally: of the current epoch.
      shift: as in `OptimizerConfig`.
      is_anew: whether the windows come in another order than before, so that the current epoch begins anew.
    """

    tally: Tally
    shift: int
    is_anew: bool


def resume(metadata: Mapping[str, Any], order: Mapping[str, Any], step: int) -> Resumed:
    """Returns where a run goes on after a checkpoint.

    With the same windows in the same order, it goes on at the next step. With others, the number of steps taken counts
    on, and the epoch after the last whole one begins with the next step: a part of an epoch that was done before the
    change does not count as an epoch, but its steps do as steps.

    Args:
      metadata: of the checkpoint. One of an older version lacks some entries; they count as unchanged.
      order: what the order of the windows depends on, now; `steps_per_epoch` is among it.
      step: number of steps taken.
    """
    if all(metadata.get(name, value) == value for name, value in order.items()):
        return Resumed(Tally(metadata["tally"]), metadata.get("shift", 0), is_anew=False)
    return Resumed(Tally(), metadata["epoch"] * order["steps_per_epoch"] - step, is_anew=True)
