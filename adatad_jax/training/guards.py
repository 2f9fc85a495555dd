"""Guards of the training loop: what ends a run before it spoils its checkpoints."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Console

from adatad_jax.errors import UserError, few, listed
from adatad_jax.training.loop import Done, Hook


class StopIfNotFinite(Hook):
    """Ends the run at a loss or gradient norm that is not finite, before anything is saved.

    Steps that change nothing then (`training.forgiving`) may be skipped, so many in a row.
    """

    def __init__(self, rates: Mapping[str, np.ndarray], fields: Sequence[str], skip: int, console: Console) -> None:
        """Prepares to watch.

        Args:
          rates: group of parameters -> `[steps]` learning rates of all steps.
          fields: of the configuration that set them, for a message.
          skip: the most steps in a row that may be skipped.
          console: where to report a skipped step.
        """
        self._rates, self._fields, self._skip, self._console = rates, fields, skip, console
        self._in_a_row = 0

    def after_step(self, done: Done) -> None:
        if is_finite(done):
            self._in_a_row = 0
            return
        self._in_a_row += 1
        rates = ", ".join(f"{name} {values[done.step]:.3g}" for name, values in self._rates.items())
        what = (
            f"step {done.step + 1}: loss {done.metrics['loss']}, gradient norm {done.metrics['grad_norm']}: not finite "
            f"(learning rates: {rates})"
        )
        videos = done.loaded.videos
        if self._in_a_row <= self._skip:
            row = f"{self._in_a_row} of at most {self._skip} in a row"
            self._console.print(f"skipped, {row}: {what}; videos {few(videos)}", style="red")
            return
        raise UserError(
            f"{what}. The last checkpoint is from before this step. Go on from it in the same folder with "
            f"--config.train.resume_with_changes=True and lower rates ({', '.join(self._fields)}) or "
            f"--config.model.dtype=float32; or with --config.train.skip_bad_steps={2 * self._skip or 3}, which leaves "
            "so many such steps in a row out. If the first step fails again, the parameters had grown before: remove "
            f"the newest folder in checkpoints, and the one before is used. The videos of the batch:{listed(videos)}"
        )


def is_finite(done: Done) -> bool:
    """Tells whether a step's loss and gradient norm are finite."""
    return math.isfinite(done.metrics["loss"]) and math.isfinite(done.metrics["grad_norm"])
