"""Fills a frame cache: `python -m adatad_jax.prepare --config configs/thumos_s.py --output DIR`.

Every video of the training and test subset is decoded once; `--config.data.cache=DIR` then reads its frames from there.
Interrupted, it goes on where it was: what is there and up to date is left. Exit code 0: the cache is complete; 1: some
videos could not be decoded (unless `data.skip_broken`), or with `--check` some files are damaged; 2: wrong usage.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from adatad_jax import cli
from adatad_jax.console import make_console
from adatad_jax.data.cache import DEFAULT_QUALITY
from adatad_jax.pipelines.prepare_cache import check, prepare

INCOMPLETE = 1


def main(arguments: Sequence[str]) -> None:
    """Parses the command line and prepares, or checks; leaves with exit code 1 if the cache is not complete."""
    parser = cli.config_parser("Decode every video of a config once, into a folder that training reads frames from.")
    parser.add_argument("--output", type=Path, required=True, help="folder of the cache (for --config.data.cache)")
    codec = parser.add_mutually_exclusive_group()
    codec.add_argument(
        "--quality", type=int, default=DEFAULT_QUALITY, help="of the JPEGs, 1 to 100 (default: %(default)s)"
    )
    codec.add_argument("--lossless", action="store_true", help="keep frames as they are decoded: five times the space")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="videos at a time (default: the cores)")
    parser.add_argument("--check", action="store_true", help="only compare all files of the cache with their checksums")
    args, config = cli.parse(parser, arguments)
    if not 1 <= args.quality <= 100:
        parser.error(f"--quality={args.quality}: expected 1 to 100")
    if args.workers < 1:
        parser.error(f"--workers={args.workers}: expected at least 1")
    console = make_console()
    if args.check:
        complete = check(args.output, args.workers, console)
    else:
        complete = prepare(config, args.output, None if args.lossless else args.quality, args.workers, console)
    if not complete:
        sys.exit(INCOMPLETE)


def entry() -> None:
    """Console script."""
    cli.run(main)


if __name__ == "__main__":
    entry()
