"""Writes a detector for PyTorch: `adatad export WORKDIR OUTPUT.pth`, or `python convert/flax_to_pth.py`.

WORKDIR is the folder of a run or of a converted detector. OUTPUT (`.pth` or
`.safetensors`) holds `state_dict` and its running average `state_dict_ema` under the names of the PyTorch release, each
behind `module.`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from adatad_jax import cli
from adatad_jax.weights.export import export
from adatad_jax.weights.object_store import working_copy


def main(arguments: Sequence[str]) -> None:
    """Parses the command line and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdir", type=Path, metavar="WORKDIR", help="folder of a run or of a converted detector")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="file to write; must not exist")
    cli.add_step_option(parser)
    args = parser.parse_args(arguments)
    with working_copy(args.workdir, writes=False) as workdir:
        print(export(workdir, args.output, args.step))


def entry() -> None:
    """Runs the script."""
    cli.run(main)


if __name__ == "__main__":
    entry()
