"""Hooks of the training loop: guards, progress bar, sums, evaluation, log, checkpoints."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp
from rich.console import Console
from rich.progress import Progress

from adatad_jax.config.fields import TrainConfig
from adatad_jax.errors import UserError
from adatad_jax.models.layers import Params
from adatad_jax.training import checkpoints
from adatad_jax.training.history import Tally, log_epoch
from adatad_jax.training.loop import Done, Hook, Place
from adatad_jax.training.state import TrainState


class StopIfNotFinite(Hook):
    """Ends the run at a loss or gradient norm that is not finite, before anything is saved."""

    def after_step(self, done: Done) -> None:
        loss, norm = done.metrics["loss"], done.metrics["grad_norm"]
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise UserError(
                f"step {done.step}: loss {loss}, gradient norm {norm}: not finite. The last checkpoint is whole; lower "
                "--config.train.tia_rate and head_rate, or set --config.model.dtype=float32, and start again"
            )


class ShowProgress(Hook):
    """Updates the progress bar."""

    def __init__(self, bar: Progress, rates: np.ndarray, first: int, steps_per_epoch: int) -> None:
        """Adds the training to the bar.

        Args:
          bar: from `console.progress_bar`.
          rates: `[steps]` learning rates of all steps.
          first: number of steps taken before.
          steps_per_epoch: of the run.
        """
        self._bar, self._rates, self._steps_per_epoch = bar, rates, steps_per_epoch
        self._task = bar.add_task("training", total=len(rates), completed=first, status="compiling the step")

    def after_step(self, done: Done) -> None:
        status = (
            f"{done.step + 1}/{len(self._rates)} loss {done.metrics['loss']:.2f} "
            f"rate {self._rates[done.step]:.0e} {done.seconds:.2f} s/step"
        )
        epoch = f"epoch {done.step // self._steps_per_epoch + 1}"
        self._bar.update(self._task, advance=1, description=epoch, status=status)


class CountEpoch(Hook):
    """Sums over an epoch's steps, reports skipped videos, and ends a run that has nothing to learn from."""

    def __init__(self, tally: Tally, windows_per_epoch: int, processes: int, console: Console, segments: str) -> None:
        """Prepares to count.

        Args:
          tally: of the current epoch.
          windows_per_epoch: number of windows, over all processes.
          processes: number of processes that share the windows.
          console: where to report.
          segments: where the segments come from, for a message.
        """
        self._tally, self._windows, self._processes = tally, windows_per_epoch, processes
        self._console, self._segments = console, segments

    def after_step(self, done: Done) -> None:
        for problem in done.loaded.skipped:
            self._console.print(f"skipped: {problem}", style="red")
        self._tally.add(
            done.metrics,
            seconds=done.seconds,
            windows_without_segment=done.loaded.unmatched,
            windows_skipped=len(done.loaded.skipped),
        )

    def due(self, place: Place) -> bool:
        return place.within == 0

    def pause(self, place: Place, state: TrainState, record: dict[str, Any]) -> None:
        record |= {"epoch": place.epoch, "step": place.step, **self._tally.finish()}
        if record["windows_skipped"] * self._processes >= self._windows:
            raise UserError(f"epoch {place.epoch}: no video could be read, see the messages above; check their disk")
        if record["windows_without_segment"] == self._windows:
            raise UserError(
                f"epoch {place.epoch}: no window kept a segment, so there is nothing to learn: check the segments in "
                f"{self._segments}, config.data.trunc_thresh and config.data.window"
            )


class Evaluate(Hook):
    """Evaluates the averaged parameters after some epochs."""

    def __init__(self, train: TrainConfig, measure: Callable[[Params], float]) -> None:
        """Prepares to evaluate.

        Args:
          train: first epoch and interval of evaluations.
          measure: returns the average mAP, in [0, 1], of a whole parameter tree on the devices.
        """
        self._train, self._measure = train, measure

    def due(self, place: Place) -> bool:
        return place.within == 0 and is_evaluated(place.epoch, self._train)

    def pause(self, place: Place, state: TrainState, record: dict[str, Any]) -> None:
        record["average_mAP"] = self._measure(state.averaged())


def is_evaluated(epoch: int, train: TrainConfig) -> bool:
    """Tells whether a run evaluates after an epoch.

    Args:
      epoch: counted from 1.
      train: first epoch and interval of evaluations; the last epoch is evaluated too.
    """
    first, is_last = train.eval_from, epoch == train.epochs
    return 0 < first <= epoch and (is_last or (epoch - first) % train.eval_every == 0)


class LogEpoch(Hook):
    """Adds every epoch to the run's history, and prints one line per epoch."""

    def __init__(self, workdir: Path, console: Console) -> None:
        """Prepares to log into a run folder and on a console."""
        self._workdir, self._console = workdir, console

    def due(self, place: Place) -> bool:
        return place.within == 0

    def pause(self, place: Place, state: TrainState, record: dict[str, Any]) -> None:
        log_epoch(self._workdir, record, self._console)


class SaveCheckpoint(Hook):
    """Saves the state after some epochs, after the last epoch, and inside epochs."""

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

    def due(self, place: Place) -> bool:
        if place.within:
            return self._train.checkpoint_steps > 0 and place.within % self._train.checkpoint_steps == 0
        return place.epoch == self._train.epochs or place.epoch % self._train.checkpoint_every == 0

    def pause(self, place: Place, state: TrainState, record: dict[str, Any]) -> None:
        metadata = {"epoch": place.epoch, **self._same_data, "tally": self._tally.saved(), **record}
        checkpoints.save(self._manager, place.step, state, metadata)
