"""Converts a VideoMAE checkpoint to Flax parameters: `python convert/pth_to_flax.py INPUT.pth OUTPUT`.

INPUT is the mmaction layout (163 tensors for the K400 VideoMAE-S); OUTPUT becomes a folder that `--config.weights`
takes. The account of every tensor is printed and kept in OUTPUT/conversion.json.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from adatad_jax import cli
from adatad_jax.conversion.convert_file import convert_file


def main(arguments: Sequence[str]) -> None:
    """Parses the command line and converts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path, help="the .pth file")
    parser.add_argument("output", type=Path, help="folder to write; must not exist")
    args = parser.parse_args(arguments)
    print(convert_file(args.input, args.output))


if __name__ == "__main__":
    cli.run(main)
