"""Writes a trained model for PyTorch: `adatad export WORKDIR OUTPUT.pth`, or `python convert/flax_to_pth.py`.

WORKDIR is the folder of a run or of a converted checkpoint, OUTPUT a `.pth` or `.safetensors`.

Of a detector, OUTPUT holds `state_dict` and its running average `state_dict_ema` under the names of the PyTorch
release, each behind `module.`.

Of masked pre-training, of clip classification and of a converted VideoMAE, OUTPUT holds the encoder and its decoder or
classifier (of a run, the averages) in the names of `--layout`: mmaction's (the default; what AdaTAD starts from), the
original ones of the VideoMAE authors (MCG-NJU), or those of Hugging Face. With the last, an OUTPUT without suffix
becomes a folder for `from_pretrained`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from adatad_jax import cli
from adatad_jax.conversion.names import Layout
from adatad_jax.weights.export import export
from adatad_jax.weights.export_network import WRAPPER
from adatad_jax.weights.object_store import working_copy


def main(arguments: Sequence[str]) -> None:
    """Parses the command line and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdir", type=Path, metavar="WORKDIR", help="folder of a run or of a converted checkpoint")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="file to write; must not exist")
    parser.add_argument(
        "--layout",
        choices=[layout.name.lower() for layout in WRAPPER],
        help="names of the tensors of a VideoMAE (default: mmaction); a detector has one layout",
    )
    cli.add_step_option(parser)
    args = parser.parse_args(arguments)
    with working_copy(args.workdir, writes=False) as workdir:
        print(export(workdir, args.output, args.step, Layout[args.layout.upper()] if args.layout else None))


def entry() -> None:
    """Runs the script."""
    cli.run(main)


if __name__ == "__main__":
    entry()
