"""`benchmarks/RESULTS.md`, in which each benchmark writes its own part, between two lines of its name."""

import argparse
import datetime
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from adatad_jax.errors import UserError
from adatad_jax.files import write_text

RESULTS = Path(__file__).parent / "RESULTS.md"
DATA = "--data"
PATHS = (DATA, "--workdir", "--json", "--folder")  # options whose values are paths


def add_write_option(parser: argparse.ArgumentParser) -> None:
    """Adds the option to record what was measured."""
    parser.add_argument("--write", action="store_true", help=f"write the figures into {RESULTS.name} as well")


def dated(module: str) -> str:
    """Returns the day and the command of a measurement, for its record."""
    return f"{datetime.datetime.now(datetime.UTC).date().isoformat()}, `{command(module, sys.argv[1:])}`:"


def command(module: str, arguments: Sequence[str]) -> str:
    """Returns the command of a measurement without what says nothing about it: where its files lie."""
    kept, rest = [], iter(arguments)
    for one in rest:
        option, equals, _ = one.partition("=")
        if option in PATHS and not equals:
            next(rest, None)
        if option == DATA:
            kept += [DATA, "DIR"]
        elif option not in (*PATHS, "--write"):
            kept.append(one)
    return shlex.join(["python", "-m", module, *kept])


def markers(name: str) -> tuple[str, str]:
    """Returns the two lines between which a benchmark's part stands."""
    return f"<!-- written by {name} -->", f"<!-- end of {name} -->"


def replace_between(text: str, name: str, part: str, path: Path) -> str:
    """Returns a text in which the part of a benchmark is replaced.

    Args:
      text: with both markers.
      name: of the benchmark.
      part: to write between them.
      path: of the text, for messages.

    Raises:
      UserError: the text does not have each marker once, the first one first.
    """
    begin, end = markers(name)
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise UserError(
            f"{path}: expected the lines {begin!r} and {end!r} once each, in this order; restore them where the part "
            f"of {name} belongs"
        )
    before, rest = text.split(begin)
    return f"{before}{begin}\n\n{part}\n\n{end}{rest.split(end)[1]}"


def write_between(name: str, part: str, path: Path = RESULTS) -> None:
    """Writes the part of a benchmark into the results; see `replace_between`."""
    write_text(path, replace_between(path.read_text(encoding="utf-8"), name, part, path))


def report(module: str, lines: Iterable[str], write: bool) -> None:
    """Prints each line of a measurement as it comes, and writes all into the results if that is asked for."""
    kept = []
    for line in lines:
        print(line, flush=True)
        kept.append(line)
    if write:
        write_between(module, "\n".join([dated(module), "", "```", *kept, "```"]))


def spread(values: Sequence[float], signed: bool = False) -> str:
    """Formats values as their mean, and the least and the greatest of them: "86.1 (85.0 to 87.2)"."""
    form = "+.1f" if signed else ".1f"
    mean = format(float(np.mean(values)), form)
    return f"{mean} ({format(min(values), form)} to {format(max(values), form)})" if len(values) > 1 else mean
