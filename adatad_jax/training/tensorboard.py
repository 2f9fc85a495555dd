"""Event files that TensorBoard reads."""

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

TENSORBOARD_FOLDER = "tensorboard"
FLUSH_EVERY = 30.0  # seconds
_logger = logging.getLogger(__name__)


class TensorBoard:
    """Writes a run's events, at once and in this thread.

    `tensorboardX.SummaryWriter` is not used: its thread ends when a disk is full, and the training would then wait for
    it for ever. Here a warning says so, once; what could not be written is lost, and a new file is begun at the next
    flush.
    """

    def __init__(self, workdir: Path, first: int) -> None:
        """Opens a new file. TensorBoard drops what earlier starts wrote of steps after `first`.

        Args:
          workdir: the run's folder; files go into its folder `tensorboard`.
          first: number of steps taken before.
        """
        self._folder, self._first = workdir / TENSORBOARD_FOLDER, first
        self._files = 0
        self._writer: EventsWriter | None = None
        self._warned, self._flushed = False, time.monotonic()
        self._open()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        entries = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._add(Event(step=step, summary=Summary(value=entries)))
        if time.monotonic() - self._flushed > FLUSH_EVERY:
            self.flush()

    def pictures(self, step: int, files: Mapping[str, Path]) -> None:
        for name, path in files.items():
            with Image.open(path) as picture:
                width, height = picture.size
            png = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=path.read_bytes())
            self._add(Event(step=step, summary=Summary(value=[Summary.Value(tag=name, image=png)])))

    def text(self, name: str, content: str) -> None:
        self._add(Event(step=self._first, summary=summary.text(name, content)))

    def flush(self) -> None:
        self._flushed = time.monotonic()
        if self._writer is None:
            self._open()
        if self._writer is not None:
            try:
                self._writer.flush()
            except OSError as error:
                self._failed(error)

    def close(self) -> None:
        self.flush()
        if self._writer is not None:
            try:
                self._writer.close()
            except OSError as error:
                self._failed(error)
            self._writer = None

    def _open(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # The library names a file by second and host.
            suffix = f".{os.getpid()}.{self._files}"
            self._writer = EventsWriter(str(self._folder / "events"), suffix)
        except OSError as error:
            self._failed(error)
            return
        self._files += 1
        if self._files == 1:
            self._add(Event(step=self._first + 1, session_log=SessionLog(status=SessionLog.START)))

    def _add(self, event: Event) -> None:
        if self._writer is None:
            return
        event.wall_time = time.time()
        try:
            self._writer.write_event(event)
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        """Leaves the file, whose last record may be cut."""
        self._writer = None
        if not self._warned:
            self._warned = True
            _logger.warning(
                "%s: cannot be written (%s); what happens until there is room will be missing there",
                self._folder,
                error.strerror,
            )
