"""Fine-tunes an encoder to classify clips, with labels from folders or a CSV.

    python -m adatad_jax.finetune --config configs/finetune_s.py --workdir DIR

Started as several processes, by a cluster or by hand (docs/training.md), these share the training.
"""

import functools
from collections.abc import Sequence

from adatad_jax import cli
from adatad_jax.config.build_clips import check_finetuning
from adatad_jax.config.clip_fields import FinetuningConfig
from adatad_jax.config.load import load_record
from adatad_jax.pipelines.finetune_classifier import finetune
from adatad_jax.pipelines.launched import run_training


def main(arguments: Sequence[str]) -> None:
    """Parses the command line and trains.

    Args:
      arguments: the command line without the program's name.

    Raises:
      UserError: the configuration, the data or the run's folder cannot be used; or other processes of the run have
        failed, or are not there.
    """
    what = "Fine-tune a VideoMAE encoder to classify clips; the same command on the same folder continues a run."
    parser = cli.config_parser(what, kind=FinetuningConfig, example="finetune_s")
    load = functools.partial(load_record, kind=FinetuningConfig, check=check_finetuning)
    args, config = cli.parse_with(parser, arguments, load)
    run_training(finetune, config, args.workdir)


def entry() -> None:
    """Runs the command as a console script."""
    cli.run(main)


if __name__ == "__main__":
    entry()
