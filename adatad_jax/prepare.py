"""Fills a frame cache: `python -m adatad_jax.prepare --config configs/thumos_s.py --output DIR`.

Every video of the training and test subset is decoded once; `--config.data.cache=DIR` then reads the frames from there.
An interrupted command can be run again: videos that are up to date are not decoded again.

Exit codes: 0, the cache is complete; 1, some videos could not be decoded (unless `data.skip_broken`), or some files are
damaged (`--check`); 2, wrong usage.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from adatad_jax import cli
from adatad_jax.console import make_console
from adatad_jax.data.cache import DEFAULT_QUALITY
from adatad_jax.devices.launch import require_one_process
from adatad_jax.errors import Exit
from adatad_jax.pipelines.prepare_cache import check, prepare


def main(arguments: Sequence[str]) -> None:
    """Parses the command line, and fills or checks the cache.

    Args:
      arguments: the command line without the program's name.

    Raises:
      UserError: the configuration or the annotations are wrong, or the cache cannot be written.
      SystemExit: the arguments are wrong (code 2), or the cache is not complete (code 1).
    """
    require_one_process("prepare")
    parser = cli.config_parser("Decode every video of a configuration once, into a folder for training to read.")
    parser.add_argument("--output", type=Path, required=True, help="folder of the cache (for --config.data.cache)")
    codec = parser.add_mutually_exclusive_group()
    codec.add_argument(
        "--quality", type=int, default=DEFAULT_QUALITY, help="of the JPEG frames, 1 to 100 (default: %(default)s)"
    )
    codec.add_argument("--lossless", action="store_true", help="store frames without loss: five times the space")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="videos at a time (default: one per core)")
    parser.add_argument("--check", action="store_true", help="only compare the cache's files with their checksums")
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
        sys.exit(Exit.PARTLY)


def entry() -> None:
    """Runs the command as a console script."""
    cli.run(main)


if __name__ == "__main__":
    entry()
