"""Fills a frame cache: `python -m adatad_jax.prepare --config configs/thumos_s.py --output DIR`.

Every video of the training and test subset is decoded once; `--config.data.cache=DIR` then reads the frames from there.
A configuration of a training on clips (configs/pretrain_s.py, configs/finetune_s.py) has a cache of every frame. An
interrupted command can be run again: videos that are up to date are not decoded again.

Exit codes: 0, the cache is complete; 1, some videos could not be decoded (unless `data.skip_broken`), or some files are
damaged (`--check`); 2, wrong usage.
"""

import functools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from adatad_jax import cli
from adatad_jax.config.build_clips import check_finetuning, check_pretraining
from adatad_jax.config.clip_fields import FinetuningConfig, PretrainingConfig
from adatad_jax.config.fields import Config
from adatad_jax.config.load import load_one_of
from adatad_jax.config.records import Record
from adatad_jax.config.validation import validate
from adatad_jax.console import make_console
from adatad_jax.data.cache import DEFAULT_QUALITY
from adatad_jax.devices.launch import require_one_process
from adatad_jax.errors import Exit
from adatad_jax.pipelines.prepare_cache import check, prepare
from adatad_jax.pipelines.prepare_clips import prepare_finetuning, prepare_pretraining

# Kind of configuration -> what checks it, and what fills its cache.
KINDS: dict[type[Record], tuple[Callable[[Any], None], Callable[..., bool]]] = {
    Config: (validate, prepare),
    PretrainingConfig: (check_pretraining, prepare_pretraining),
    FinetuningConfig: (check_finetuning, prepare_finetuning),
}


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
    codec.add_argument("--lossless", action="store_true", help="store frames without loss: six times the space")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="videos at a time (default: one per core)")
    parser.add_argument("--check", action="store_true", help="only compare the cache's files with their checksums")
    checks = {kind: check_kind for kind, (check_kind, _) in KINDS.items()}
    args, config = cli.parse_with(parser, arguments, functools.partial(load_one_of, kinds=checks))
    if not 1 <= args.quality <= 100:
        parser.error(f"--quality={args.quality}: expected 1 to 100")
    if args.workers < 1:
        parser.error(f"--workers={args.workers}: expected at least 1")
    console = make_console()
    if args.check:
        complete = check(args.output, args.workers, console)
    else:
        _, prepare_kind = KINDS[type(config)]
        complete = prepare_kind(config, args.output, None if args.lossless else args.quality, args.workers, console)
    if not complete:
        sys.exit(Exit.PARTLY)


def entry() -> None:
    """Runs the command as a console script."""
    cli.run(main)


if __name__ == "__main__":
    entry()
