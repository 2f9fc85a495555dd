"""Trains a detector: `python -m adatad_jax.train --config configs/thumos_s.py`.

Started as several processes, by a cluster or by hand (docs/training.md), these share the training. With `--dry_run` it
builds and compiles everything, says what the run will need, and writes nothing.
"""

from collections.abc import Sequence

from adatad_jax import cli
from adatad_jax.console import make_console
from adatad_jax.devices.compilation import keep_compiled
from adatad_jax.devices.launch import require_one_process
from adatad_jax.pipelines.dry_run import PLATFORMS, dry_run
from adatad_jax.pipelines.launched import run_training
from adatad_jax.pipelines.train_detector import train
from adatad_jax.weights.object_store import address_of, scratch_folder


def main(arguments: Sequence[str]) -> None:
    """Parses the command line and trains.

    Args:
      arguments: the command line without the program's name.

    Raises:
      UserError: the configuration, the data or the run's folder cannot be used; or other processes of the run have
        failed, or are not there.
    """
    parser = cli.config_parser("Train AdaTAD; the same command on the same folder continues a run.")
    parser.add_argument(
        "--dry_run",
        action="store_true",
        help="build and compile everything, print parameters, operations, memory and expected hours, and write nothing",
    )
    parser.add_argument(
        "--platform",
        choices=PLATFORMS,
        help="with --dry_run: lower the steps for this platform, which need not be there, and compile nothing",
    )
    args, config = cli.parse(parser, arguments)
    if args.platform and not args.dry_run:
        parser.error("--platform: only with --dry_run; a training takes the devices that JAX finds")
    if args.dry_run:
        require_one_process("train --dry_run")
        keep_compiled(config.compilation_cache)
        address = address_of(args.workdir)
        dry_run(config, scratch_folder(address) if address else args.workdir, make_console(), args.platform)
        return
    run_training(train, config, args.workdir)


def entry() -> None:
    """Runs the command as a console script."""
    cli.run(main)


if __name__ == "__main__":
    entry()
