"""Epochs: their sums, their line in the history, and what an epoch must have learned from."""

import logging
from pathlib import Path
from typing import Any

from rich.console import Console

from adatad_jax.errors import UserError
from adatad_jax.training.guards import is_finite
from adatad_jax.training.history import Tally, print_epoch, read_history, write_history
from adatad_jax.training.loop import Done, Hook, Place
from adatad_jax.training.state import TrainState

_logger = logging.getLogger(__name__)


class CountEpoch(Hook):
    """Sums over an epoch's steps, reports skipped videos, and ends a run that has nothing to learn from."""

    def __init__(self, tally: Tally, windows_per_epoch: int, console: Console, segments: str) -> None:
        """Prepares to count.

        Args:
          tally: of the current epoch.
          windows_per_epoch: number of windows, over all processes.
          console: where to report.
          segments: where the segments come from, for a message.
        """
        self._tally, self._windows = tally, windows_per_epoch
        self._console, self._segments = console, segments

    def after_step(self, done: Done) -> None:
        for _, problem in done.loaded.skipped:
            self._console.print(f"skipped: {problem}", style="red")
        learned = is_finite(done)
        self._tally.add(
            done.metrics if learned else {},
            steps=int(learned),
            steps_skipped=int(not learned),
            seconds=done.seconds,
            windows_without_segment=done.loaded.unmatched,
            windows_skipped=len(done.loaded.skipped),
            reads_repeated=done.loaded.repeated,
        )

    def due(self, place: Place) -> bool:
        return place.within == 0

    def pause(self, place: Place, state: TrainState, record: dict[str, Any]) -> None:
        record |= {"epoch": place.epoch, "step": place.step, **self._tally.finish()}
        if "loss" not in record:
            raise UserError(f"epoch {place.epoch}: no step had a finite loss, see the messages above; lower the rates")
        if record["windows_skipped"] >= self._windows:
            raise UserError(f"epoch {place.epoch}: no video could be read, see the messages above; check their disk")
        if record["windows_without_segment"] == self._windows:
            raise UserError(
                f"epoch {place.epoch}: no window kept a segment, so there is nothing to learn: check the segments in "
                f"{self._segments}, config.data.trunc_thresh and config.data.window"
            )


class LogEpoch(Hook):
    """Adds every epoch to the run's history, and prints one line per epoch.

    The line of an epoch that is evaluated later than it was recorded is replaced.

    A history that cannot be written is a warning: the run goes on, and the epoch is added as soon as it can be. The
    checkpoint of an epoch holds its record too.
    """

    def __init__(self, workdir: Path, console: Console) -> None:
        """Prepares to log into a run folder and on a console."""
        self._workdir, self._console = workdir, console
        self._unwritten: list[dict[str, Any]] = []

    def due(self, place: Place) -> bool:
        return place.within == 0

    def pause(self, place: Place, state: TrainState, record: dict[str, Any]) -> None:
        print_epoch(record, self._console)
        self._unwritten.append(record)
        if (problem := self._write()) is not None:
            _logger.warning("%s; tried again after each step", problem)

    def after_step(self, done: Done) -> None:
        if self._unwritten:  # at once: later checkpoints do not hold these records
            self._write()

    def _write(self) -> Exception | None:
        """Adds the epochs that are not written yet; returns why that fails."""
        steps = {one["step"] for one in self._unwritten}
        try:
            others = [one for one in read_history(self._workdir) if one["step"] not in steps]
            write_history(self._workdir, [*others, *self._unwritten])
        except (UserError, OSError) as error:
            return error
        self._unwritten.clear()
        return None
