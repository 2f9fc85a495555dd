"""The terminal: where entry points report, how warnings of the package are shown, and the progress bar."""

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

Item = TypeVar("Item")


def make_console(quiet: bool = False) -> Console:
    """Returns where entry points report: text as it is (a path may hold brackets), never broken inside a path.

    Args:
      quiet: whether nothing is shown, as in all processes of a run but the first.
    """
    return Console(markup=False, highlight=False, soft_wrap=True, quiet=quiet)


@contextmanager
def warnings_to(handler: logging.Handler) -> Iterator[None]:
    """Hands the warnings and notes of the package to a handler, and to nothing else, until the block ends."""
    logger = logging.getLogger("adatad_jax")
    before, level = (logger.handlers, logger.propagate), logger.level
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.handlers, logger.propagate = before
        logger.setLevel(level)


class PrintedWarnings(logging.Handler):
    """Prints warnings of the package, and notes (of the level INFO), each once."""

    def __init__(self, process: int = 0) -> None:
        """Prepares to print.

        Args:
          process: which of several processes this is. All but the first name themselves, and print no notes.
        """
        super().__init__(logging.INFO if process == 0 else logging.WARNING)
        self._who = f"process {process}: " if process else ""
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self._said:
            self._said.add(text)
            if record.levelno >= logging.WARNING:
                print(f"warning: {self._who}{text}", file=sys.stderr)
            else:
                print(text)


@contextmanager
def libraries_silenced() -> Iterator[None]:
    """Silences what the checkpoint library logs, and what its threads print, until the block ends.

    Its errors are raised too, and each is reported in one message; the log would have hundreds of lines of tracebacks,
    and some of them come seconds later, from writes that were still running when the first one failed.
    """
    before = sys.unraisablehook

    def ignore(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            before(unraisable)

    with ExitStack() as stack:
        for name in ("absl", "asyncio"):
            logger, silence = logging.getLogger(name), _Silence()
            logger.addFilter(silence)
            stack.callback(logger.removeFilter, silence)
        sys.unraisablehook = ignore
        stack.callback(setattr, sys, "unraisablehook", before)
        yield


class _Silence(logging.Filter):
    """Drops the records of the checkpoint library, which logs through absl and asyncio."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.name != "asyncio" and "orbax" not in record.pathname


class _Status(ProgressColumn):
    """The field `status` of a task, or what is done of it."""

    def render(self, task: Task) -> Text:
        return Text(task.fields.get("status") or f"{task.completed:.0f}/{task.total or 0:.0f}")


class _Left(TimeRemainingColumn):
    """The field `left` of a task, in seconds, or what the bar itself estimates from the steps so far."""

    def render(self, task: Task) -> Text:
        if (left := task.fields.get("left")) is None or task.finished:
            return super().render(task)
        minutes, seconds = divmod(round(left), 60)
        return Text(f"{minutes // 60}:{minutes % 60:02}:{seconds:02}", style="progress.remaining")


def progress_bar(console: Console, *, stays: bool = False) -> Progress:
    """Returns the bar for long work; a task's field `status` says what is going on.

    Args:
      console: where the bar is shown, if that is a terminal.
      stays: whether the bar stays when the work is done.
    """
    times = len("0:00:00")
    return Progress(
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
        BarColumn(min(20, max(6, console.width - 74))),  # all else fits a terminal of 80 columns
        _Status(table_column=Column(no_wrap=True)),
        TimeElapsedColumn(table_column=Column(no_wrap=True, min_width=times)),
        TextColumn("ETA"),
        _Left(table_column=Column(no_wrap=True, min_width=times)),
        console=console,
        transient=not stays,
        expand=True,
        disable=not console.is_terminal,
    )


def watched(items: Iterable[Item], description: str, total: int, console: Console | None = None) -> Iterator[Item]:
    """Yields items behind a progress bar."""
    with progress_bar(console or make_console()) as bar:
        yield from bar.track(items, total=total, description=description)
