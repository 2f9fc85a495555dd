"""Pre-trains an encoder by masking (VideoMAE, arXiv 2203.12602) on a folder of videos, without labels.

    python -m adatad_jax.pretrain --config configs/pretrain_s.py --workdir DIR

Started as several processes, by a cluster or by hand (docs/training.md), these share the training.
"""

import functools
from collections.abc import Sequence

from adatad_jax import cli
from adatad_jax.config.build_clips import check_pretraining
from adatad_jax.config.clip_fields import PretrainingConfig
from adatad_jax.config.load import load_record
from adatad_jax.pipelines.launched import run_training
from adatad_jax.pipelines.pretrain_autoencoder import pretrain


def main(arguments: Sequence[str]) -> None:
    """Parses the command line and trains.

    Args:
      arguments: the command line without the program's name.

    Raises:
      UserError: the configuration, the data or the run's folder cannot be used; or other processes of the run have
        failed, or are not there.
    """
    what = "Pre-train a VideoMAE encoder by masking; the same command on the same folder continues a run."
    parser = cli.config_parser(what, kind=PretrainingConfig, example="pretrain_s")
    load = functools.partial(load_record, kind=PretrainingConfig, check=check_pretraining)
    args, config = cli.parse_with(parser, arguments, load)
    run_training(pretrain, config, args.workdir)


def entry() -> None:
    """Runs the command as a console script."""
    cli.run(main)


if __name__ == "__main__":
    entry()
