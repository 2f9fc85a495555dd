"""How commands end: exit codes, the exceptions that are meant for the user, and functions that compose messages."""

import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum

PROBLEMS_SHOWN = 20
_NAMES_SHOWN = 3
_shown = ContextVar("shown", default=PROBLEMS_SHOWN)


class Exit(IntEnum):
    """The exit codes of all commands; docs/training.md has the table. 70 and 75 are those of BSD's sysexits."""

    DONE = 0
    PARTLY = 1  # some of what was asked for: a video of several, a cache that is not whole
    USER_ERROR = 2
    MACHINE = 70  # the same command continues, once the machine is well
    CONTINUE = 75  # left as asked: the same command continues
    INTERRUPTED = 130


class UserError(Exception):
    """An error that the user can correct.

    The message names the file, key or field, what was found, what was expected, and what to do. Commands print it
    without a traceback and exit with `exit_code` (`adatad_jax.cli`).
    """

    exit_code = Exit.USER_ERROR


class MachineError(UserError):
    """A fault of a device or of the machine: nothing is wrong with the command, which continues when called again."""

    exit_code = Exit.MACHINE


class Left(SystemExit):
    """The end of a training that was asked to leave: its state is saved, and the same call continues it.

    A program that lets it pass exits with code 75, without a traceback, as the commands do.
    """

    def __init__(self, where: str) -> None:
        """Says where the run was left, in words, such as "after step 12"."""
        super().__init__(Exit.CONTINUE.value)
        self.where = where

    def __str__(self) -> str:
        return self.where


def one_line(error: Exception, limit: int = 200) -> str:
    """Returns the message of another library's exception on one line, cut to `limit` characters."""
    return " ".join(str(error).split())[:limit]


def listed(lines: Sequence[str]) -> str:
    """Formats lines for the end of a message: at most `PROBLEMS_SHOWN`, then the number of those left out.

    Inside `all_listed`, no line is left out.
    """
    shown = _shown.get()
    rest = [f"... and {len(lines) - shown} more"] if len(lines) > shown else []
    return "".join(f"\n  {line}" for line in (*lines[:shown], *rest))


@contextmanager
def all_listed() -> Iterator[None]:
    """Makes `listed` leave out no line inside the block: for reports that are written to a file."""
    token = _shown.set(sys.maxsize)
    try:
        yield
    finally:
        _shown.reset(token)


def few(names: Collection[str]) -> str:
    """Formats the first three names, and their number if there are more.

    A name with characters that a terminal would interpret or cannot show is written as a Python literal.
    """
    shown = ", ".join(name if name.isprintable() else repr(name) for name in list(names)[:_NAMES_SHOWN])
    return f"{shown}, ... ({len(names)} in all)" if len(names) > _NAMES_SHOWN else shown
