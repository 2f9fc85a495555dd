"""The one exception a user is meant to read, and how its message is put together."""

import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

PROBLEMS_SHOWN = 20
_NAMES_SHOWN = 3
_shown = ContextVar("shown", default=PROBLEMS_SHOWN)


class UserError(Exception):
    """Something the user gave is wrong; the message says what, and what to do.

    A message names the file, key or field, what was found, what was expected and the remedy. Entry points print it
    without a traceback and exit with code 2 (`adatad_jax.cli`).
    """


def one_line(error: Exception, limit: int = 200) -> str:
    """What another library says of a failure, on one line and cut, to stand inside a message of ours."""
    return " ".join(str(error).split())[:limit]


def listed(lines: Sequence[str]) -> str:
    """Lines to end a message with, at most `PROBLEMS_SHOWN` of them (`all_listed`) and how many more there are."""
    shown = _shown.get()
    rest = [f"... and {len(lines) - shown} more"] if len(lines) > shown else []
    return "".join(f"\n  {line}" for line in (*lines[:shown], *rest))


@contextmanager
def all_listed() -> Iterator[None]:
    """Inside it, `listed` leaves out nothing: for reports that go into a file."""
    token = _shown.set(sys.maxsize)
    try:
        yield
    finally:
        _shown.reset(token)


def few(names: Collection[str]) -> str:
    """The first three, and how many there are; what a terminal would obey or could not show is written as in Python."""
    shown = ", ".join(name if name.isprintable() else repr(name) for name in list(names)[:_NAMES_SHOWN])
    return f"{shown}, ... ({len(names)} in all)" if len(names) > _NAMES_SHOWN else shown
