"""Event files that TensorBoard reads."""

import contextlib
import io
import logging
import socket
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from PIL import Image


@contextlib.contextmanager
def _without_torch() -> Iterator[None]:
    """Keeps imports of the block from importing torch, unless that is there already.

    tensorboardX imports torch where it is installed, which takes seconds and hundreds of megabytes, for nothing here.
    """
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules["torch"]


with _without_torch():
    from tensorboardX import summary
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.record_writer import masked_crc32c

TENSORBOARD_FOLDER = "tensorboard"
RETRY_AFTER = 30.0  # seconds
_logger = logging.getLogger(__name__)


class TensorBoard:
    """Writes a run's events at once and in this thread, so that a kill loses none.

    `tensorboardX.SummaryWriter` is not used: its thread ends when a disk is full, and the training would then wait for
    it for ever. Here a warning says so, once; what could not be written is lost, and a new file is begun after a while.
    """

    def __init__(self, workdir: Path, first: int) -> None:
        """Begins a new file. TensorBoard drops what earlier starts wrote of steps after `first`.

        Args:
          workdir: the run's folder; files go into its folder `tensorboard`.
          first: number of steps taken before.
        """
        self._folder, self._first = workdir / TENSORBOARD_FOLDER, first
        self._file: io.FileIO | None = None
        self._retry, self._warned = 0.0, False
        self._add(Event(step=first + 1, session_log=SessionLog(status=SessionLog.START)))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        entries = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._add(Event(step=step, summary=Summary(value=entries)))

    def pictures(self, step: int, files: Mapping[str, Path]) -> None:
        for name, path in files.items():
            try:
                with Image.open(path) as picture:
                    width, height = picture.size
                content = path.read_bytes()
            except OSError as error:  # no fault of a log may end a training
                _logger.warning("%s: cannot be read (%s), and is missing in TensorBoard", path, error)
                continue
            png = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=content)
            self._add(Event(step=step, summary=Summary(value=[Summary.Value(tag=name, image=png)])))

    def text(self, name: str, content: str) -> None:
        self._add(Event(step=self._first, summary=summary.text(name, content)))

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _add(self, event: Event) -> None:
        """Writes an event, into a new file if there is none."""
        if self._file is None and time.monotonic() < self._retry:
            return
        event.wall_time = time.time()
        try:
            if self._file is None:
                self._file = self._begin()
                self._write(self._file, Event(wall_time=event.wall_time, file_version="brain.Event:2"))
            self._write(self._file, event)
        except OSError as error:
            self.close()  # its last record may be cut
            self._retry = time.monotonic() + RETRY_AFTER
            if not self._warned:
                self._warned = True
                text = "%s: cannot be written (%s); what happens until there is room will be missing there"
                _logger.warning(text, self._folder, error.strerror or error)

    def _begin(self) -> io.FileIO:
        self._folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads the files of a folder in the order of their names.
        number = sum(1 for _ in self._folder.iterdir())
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{number:05}"
        return (self._folder / name).open("xb", buffering=0)

    def _write(self, file: io.FileIO, event: Event) -> None:
        """Writes an event as a TFRecord: its length, its bytes, and a checksum of each."""
        data = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        checksums = (struct.pack("<I", masked_crc32c(part)) for part in (length, data))
        record = length + next(checksums) + data + next(checksums)
        if file.write(record) < len(record):
            raise OSError("the disk is full")
