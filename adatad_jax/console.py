"""The terminal: where entry points report, and how warnings of the package are shown."""

import logging
import sys

from rich.console import Console


class _Warnings(logging.Handler):
    """Prints warnings of the package, each once: annotations are read again for every subset."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self._said:
            self._said.add(text)
            print(f"warning: {text}", file=sys.stderr)


def make_console() -> Console:
    """Where entry points report: text as it is (a path may hold brackets), never broken where it could be copied."""
    return Console(markup=False, highlight=False, soft_wrap=True)
