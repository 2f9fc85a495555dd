"""Time, memory, operations and start-up, beside PyTorch on the same work: `python -m benchmarks.run`.

Both sides have the same weights, windows, threads and device, and take samples in turns while the machine is otherwise
idle. The tables of `benchmarks/RESULTS.md`, those of a CPU and those of a GPU, are written by this command, and on a
CPU which targets are met. With --quick, which takes two minutes, and with --sizes they are printed instead.
"""

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax

from adatad_jax import cli
from adatad_jax.errors import UserError
from adatad_jax.models.sizes import SIZES
from benchmarks.results import command, write_between
from benchmarks.run import data, flops, growth, memory, speed, startup, targets
from benchmarks.run.context import Context, advancing, find_device, threads_here, why_no_torch
from benchmarks.run.rows import Row, write_json
from benchmarks.run.sampling import Idle
from benchmarks.run.tables import describe, render, write_tables

PATIENCE, QUICK_PATIENCE = 600.0, 20.0  # seconds in all that samples wait for the machine to be idle
ALL_SIZES = tuple(size for size in SIZES if size != "tiny")


class Part(NamedTuple):
    """A part of the benchmark.

    Attributes:
      measure: yields its rows.
      expected: about how many seconds it takes on a CPU of two cores.
      picture: Markdown to stand above its tables.
    """

    measure: Callable[[Context], Iterator[Row]]
    expected: Callable[[Context], float]
    picture: str = ""


def _memory_seconds(context: Context) -> float:
    compiled = sum(memory.seconds(context, size) for size in context.sizes for _ in memory.settings(size))
    return compiled + memory.PEAK_SECONDS * len(list(memory.peak_cases(context)))


PARTS = {
    "speed": Part(speed.measure, lambda context: 10 + sum(speed.cost(context, work) for work in speed.works(context))),
    "memory": Part(memory.measure, _memory_seconds),
    "flops": Part(flops.measure, lambda context: flops.SECONDS * (2 if context.quick else flops.PROGRAMS)),
    "startup": Part(startup.measure, startup.expected),
    "data": Part(data.measure, lambda context: data.SECONDS),
    "growth": Part(growth.measure, growth.expected, growth.SHOWN),
}
# Without --only: growth, which takes as long as all others, is left out.
UNASKED, QUICK = ("speed", "memory", "flops", "startup", "data"), ("speed", "memory")


def main(arguments: Sequence[str]) -> None:
    """Measures what the command line asks for.

    Args:
      arguments: the command line without the program's name.

    Raises:
      UserError: a part or a size is unknown, there is no such device, or the markers of a table are missing.
    """
    args = _parser().parse_args(arguments)
    parts = chosen(args.only, PARTS, "--only", "parts") if args.only else QUICK if args.quick else UNASKED
    sizes = chosen(args.sizes, ALL_SIZES, "--sizes", "sizes") if args.sizes else ALL_SIZES
    if args.quick and not args.sizes:
        sizes = ("S",)
    device = _set_up(args.device)
    idle = Idle(QUICK_PATIENCE if args.quick else PATIENCE)
    no_torch, threads = why_no_torch(device), threads_here()
    if not no_torch:
        from benchmarks.run import opponent

        opponent.set_up(threads)
    about, rows = describe(command("benchmarks.run", arguments), device, threads), list[Row]()
    unstarted = Context(device, args.quick, sizes, threads, no_torch, idle, None)  # type: ignore[arg-type]
    is_partial = args.quick or args.sizes
    with advancing(sum(PARTS[part].expected(unstarted) for part in parts)) as advance:
        context = unstarted._replace(advance=advance)
        for part in parts:
            first = len(rows)
            for row in PARTS[part].measure(context):
                rows.append(row)
                if args.json:  # a run that is ended leaves what it has found
                    write_json(args.json, rows)
            found = rows[first:]
            if is_partial:
                print(f"## {part}\n\n{about} Not for the record.\n\n{render(found)}\n")
            else:
                name = f"{part} on a GPU" if context.is_gpu else part
                write_tables(name, found, PARTS[part].picture + about)
    if not is_partial and not context.is_gpu and set(UNASKED) <= set(parts):
        write_between(targets.NAME, f"{about}\n\n{targets.render_targets(rows)}")


def chosen(text: str, known: Sequence[str] | dict[str, Part], option: str, what: str) -> tuple[str, ...]:
    """Reads a list of names with commas between.

    Args:
      text: of the command line.
      known: the names there are.
      option, what: for messages.

    Raises:
      UserError: a name is unknown.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise UserError(
            f"{option} {text}: unknown {', '.join(unknown) or 'nothing'}; expected one or more of the {what} "
            f"{', '.join(known)}, with commas between"
        )
    return tuple(dict.fromkeys(names))


def _set_up(name: str | None) -> jax.Device:
    """Prepares both libraries, before either computes; returns the device."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch needs memory of the same GPU
    os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"  # compile times are those of a first run
    jax.config.update("jax_enable_compilation_cache", False)
    if name == "cpu":
        jax.config.update("jax_platforms", "cpu")
    return find_device(name or ("cpu" if jax.default_backend() == "cpu" else "gpu"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "gpu"), help="that computes; default: a GPU, if there is one")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="few samples of the smallest work, in two minutes; tables are printed, and not written",
    )
    parser.add_argument(
        "--only",
        metavar="PARTS",
        help=f"of {', '.join(PARTS)}; default: {', '.join(UNASKED)}; quick: {', '.join(QUICK)}",
    )
    parser.add_argument("--sizes", metavar="SIZES", help=f"of {', '.join(ALL_SIZES)}; default: all that fit")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all rows there")
    return parser


def entry() -> None:
    """Runs the command line."""
    cli.run(main)


if __name__ == "__main__":
    entry()
