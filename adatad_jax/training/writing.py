"""Writing of checkpoints in the background, which goes on where a disk is full for a while."""

import logging
import os
import shutil
import threading
import time
from collections import deque
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import orbax.checkpoint as ocp

from adatad_jax.console import libraries_silenced
from adatad_jax.errors import Left, UserError
from adatad_jax.training.checkpoints import Snapshot, seal, write

PATIENCE = 60.0  # seconds for which the end of a run waits for room
_POLL = 0.5  # seconds between looks at the disk
_LONGEST_PAUSE = 20.0  # seconds between tries where the disk has room, and writing fails all the same
_logger = logging.getLogger(__name__)


class CheckpointWriter:
    """Writes one checkpoint at a time in the background, as a context manager.

    A checkpoint that cannot be written is a failure: a warning says so, and the run goes on. It is tried again as soon
    as the disk has room for it, until the next checkpoint takes its place. Only several failures in a row are an error.
    """

    def __init__(self, manager: ocp.CheckpointManager, limit: int) -> None:
        """Prepares to write.

        Args:
          manager: from `open_manager`.
          limit: number of failures in a row that are an error.
        """
        self._manager, self._limit = manager, limit
        self._silenced = ExitStack()
        self._thread: threading.Thread | None = None
        self._give_up = threading.Event()
        self._failures = 0
        self._failing: UserError | None = None  # why the current checkpoint is not written yet

    def __enter__(self) -> Self:
        self._silenced.enter_context(libraries_silenced())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finishes, also where the run is left; after an error it waits for what is being written, and no longer.

        Raises:
          UserError: the checkpoint cannot be written: a run that is left then has lost steps.
        """
        with self._silenced:
            if kind is None or issubclass(kind, Left):
                self.finish()
            else:
                self._stop()

    def write(self, taken: Snapshot) -> None:
        """Starts to write a checkpoint, once the one before is written or has failed.

        Raises:
          UserError: there were too many failures in a row.
        """
        self._stop()
        self.check()
        self._give_up, self._failing = threading.Event(), None
        self._thread = threading.Thread(target=self._work, args=(taken, self._give_up), name="checkpoint", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises `UserError` if there were too many failures in a row."""
        if self._failures >= self._limit and self._failing is not None:
            raise UserError(
                f"{self._failing}: {self._failures} failures in a row (train.failed_saves); make room, and start "
                "again: the checkpoints before are whole"
            )

    def finish(self, patience: float = PATIENCE) -> None:
        """Waits until the checkpoint is written.

        Args:
          patience: seconds for which it is tried again while it fails.

        Raises:
          UserError: it cannot be written.
        """
        end = time.monotonic() + patience
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(_POLL)
            if self._failing is not None and time.monotonic() > end:
                self._stop()
        if self._failing is not None:
            raise UserError(f"{self._failing}; make room, and start again: the checkpoints before are whole")

    def _stop(self) -> None:
        """Ends the tries; waits for one that is running."""
        self._give_up.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _work(self, taken: Snapshot, give_up: threading.Event) -> None:
        """Writes a checkpoint, and tries again until it is written or given up."""
        left = deque([partial(write, self._manager, taken), partial(seal, self._manager, taken.step)])
        tries, pause = 0, _POLL
        while True:
            tries += 1
            try:
                while left:
                    left[0]()
                    left.popleft()
            except UserError as error:
                self._failing = error
                if tries == 1:
                    self._failures += 1
                    _logger.warning(
                        "%s: failure %d in a row (train.failed_saves=%d ends the run); tried again when there is room",
                        error,
                        self._failures,
                        self._limit,
                    )
            else:
                break
            if not self._room(taken.size, give_up, pause):
                return
            pause = min(2 * pause, _LONGEST_PAUSE)
        if self._failures:
            _logger.warning(
                "the checkpoint of step %d is written%s", taken.step, f", at try {tries}" if tries > 1 else ""
            )
        self._failures, self._failing = 0, None

    def _room(self, size: int, give_up: threading.Event, pause: float) -> bool:
        """Waits until the disk has room; returns False if it is given up before.

        Args:
          size: bytes to write.
          give_up: set to end the wait.
          pause: seconds to wait at least.
        """
        earliest = time.monotonic() + pause
        while not give_up.wait(_POLL):
            if time.monotonic() >= earliest and has_room(Path(self._manager.directory), size):
                return True
        return False


def has_room(folder: Path, size: int) -> bool:
    """Tells whether a folder, or the first of its parents that exists, can be written and has room for `size` bytes."""
    try:
        existing = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
        return os.access(existing, os.W_OK | os.X_OK) and shutil.disk_usage(existing).free >= size
    except (OSError, StopIteration):
        return False
