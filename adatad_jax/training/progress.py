"""Progress of a training for a person who looks on."""

import numpy as np
from rich.progress import Progress

from adatad_jax.training.loop import Done, Hook


class ShowProgress(Hook):
    """Updates the progress bar."""

    def __init__(self, bar: Progress, rates: np.ndarray, first: int, steps_per_epoch: int, shift: int = 0) -> None:
        """Adds the training to the bar.

        Args:
          bar: from `console.progress_bar`.
          rates: `[steps]` learning rates of all steps.
          first: number of steps taken before.
          steps_per_epoch: of the run.
          shift: as in `loop.run`.
        """
        self._bar, self._rates, self._steps_per_epoch, self._shift = bar, rates, steps_per_epoch, shift
        self._task = bar.add_task("training", total=len(rates), completed=first, status="compiling the step")

    def after_step(self, done: Done) -> None:
        status = (
            f"{done.step + 1}/{len(self._rates)} loss {done.metrics['loss']:.2f} "
            f"rate {self._rates[done.step]:.0e} {done.seconds:.2f} s/step"
        )
        epoch = f"epoch {(done.step + self._shift) // self._steps_per_epoch + 1}"
        self._bar.update(self._task, advance=1, description=epoch, status=status)
