"""Proof of the clock: `python -m benchmarks.clock [--count 300] [--seed 0] [--keep DIR]`.

Makes videos whose true times are known, with a number drawn into each picture: containers, codings, constant and
variable rates, headers that say another rate, clocks that start anywhere, wrong stamps, joined and cut files, edit
lists, several tracks. Reads each in all ways that the package has, and compares pictures and times.

A file is RIGHT if every picture is shown within one frame of its true time, by the clock, in any order of reading, in
what `detect` sees and in what training sees. Where the file's stamps are wrong, the last two may be off by half a frame
more, because they choose the frame that is nearest to a time. A file is REFUSED if a message says why it is not read.
Anything else is WRONG, also a crash or a wait of 20 s, and then the exit code is 1.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from adatad_jax.errors import UserError
from adatad_jax.video.limits import map_in_processes
from benchmarks.clock.check import REFUSED, RIGHT, WRONG, Verdict, examine
from benchmarks.clock.recipes import DIMENSIONS, Recipe, recipes

LIMIT = 20.0  # seconds for making and reading a file


def examine_all(chosen: list[Recipe], folder: Path, workers: int) -> dict[Recipe, Verdict]:
    """Examines files in processes that are killed at the limit."""
    items = [(recipe, folder) for recipe in chosen]
    found = {}
    for (recipe, _), outcome in map_in_processes(examine, items, workers, LIMIT, name=lambda item: item[0]):
        found[recipe] = Verdict(WRONG, str(outcome)) if isinstance(outcome, UserError) else outcome
    return {recipe: found[recipe] for recipe in chosen}


def tell(found: dict[Recipe, Verdict], console: Console) -> None:
    """Prints the verdicts per value of each dimension, then what is not right, then the count."""
    for dimension, values in DIMENSIONS.items():
        table = Table(dimension, RIGHT, REFUSED, WRONG)
        for value in values:
            own = Counter(one.verdict for recipe, one in found.items() if getattr(recipe, dimension) == value)
            if own:
                table.add_row(value, *(str(own[verdict] or "") for verdict in (RIGHT, REFUSED, WRONG)))
        console.print(table)
    for verdict in (REFUSED, WRONG):
        for recipe, one in found.items():
            if one.verdict == verdict:
                console.print(
                    f"{verdict}: {recipe} (seed {recipe.seed})\n    {one.reason}", soft_wrap=True, markup=False
                )
    count = Counter(one.verdict for one in found.values())
    console.print(f"{len(found)} videos: {count[RIGHT]} right, {count[REFUSED]} refused, {count[WRONG]} wrong")


def main() -> None:
    """Examines so many files and ends with code 1 if any is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300, help="number of videos")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn at random")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--keep", type=Path, help="folder for the files that are not right; default: none is kept")
    args = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        found = examine_all(recipes(args.count, args.seed), args.keep or Path(scratch), args.workers)
    console = Console(highlight=False)
    tell(found, console)
    console.print(f"{time.perf_counter() - started:.0f} s")
    sys.exit(any(one.verdict == WRONG for one in found.values()))


if __name__ == "__main__":
    main()
