"""The exception that is meant for the user, and functions that compose its message."""

import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

PROBLEMS_SHOWN = 20
_NAMES_SHOWN = 3
_shown = ContextVar("shown", default=PROBLEMS_SHOWN)


class UserError(Exception):
    """An error that the user can correct.

    The message names the file, key or field, what was found, what was expected, and what to do. Commands print it
    without a traceback and exit with code 2 (`adatad_jax.cli`).
    """


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
