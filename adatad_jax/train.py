"""Trains a detector: `python -m adatad_jax.train --config configs/thumos_s.py`."""

from collections.abc import Sequence

from adatad_jax import cli
from adatad_jax.console import make_console
from adatad_jax.pipelines.train_detector import train


def main(arguments: Sequence[str]) -> None:
    """Parses the command line and trains.

    Args:
      arguments: the command line without the program's name.

    Raises:
      UserError: the configuration, the data or the run's folder cannot be used.
    """
    parser = cli.config_parser("Train AdaTAD; the same command on the same folder continues a run.")
    args, config = cli.parse(parser, arguments)
    train(config, args.workdir, make_console())


def entry() -> None:
    """Runs the command as a console script."""
    cli.run(main)


if __name__ == "__main__":
    entry()
