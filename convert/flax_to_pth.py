"""Writes a detector for PyTorch: `python convert/flax_to_pth.py WORKDIR OUTPUT.pth` (or `.safetensors`).

WORKDIR is the folder of a run, whose latest checkpoint is taken, or of a converted detector. OUTPUT holds `state_dict`
and its running average `state_dict_ema` under the names of the PyTorch release, each behind `module.`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from adatad_jax import cli
from adatad_jax.weights.export import export


def main(arguments: Sequence[str]) -> None:
    """Parses the command line and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdir", type=Path, metavar="WORKDIR", help="folder of a run or of a converted detector")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="file to write; must not exist")
    args = parser.parse_args(arguments)
    print(export(args.workdir, args.output))


if __name__ == "__main__":
    cli.run(main)
