"""Converts a VideoMAE checkpoint to Flax parameters: `python convert/pth_to_flax.py INPUT.pth OUTPUT`.

INPUT is the mmaction layout (163 tensors for the K400 VideoMAE-S); OUTPUT becomes a folder that `--config.weights`
takes. The account of every tensor is printed and kept in OUTPUT/conversion.json.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from adatad_jax import cli
from adatad_jax.conversion.store import refuse_existing, save_backbone
from adatad_jax.conversion.torch_file import load_state_dict
from adatad_jax.conversion.videomae import Backbone, convert_videomae


def main(arguments: Sequence[str]) -> None:
    """Parses the command line and converts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path, help="the .pth file")
    parser.add_argument("output", type=Path, help="folder to write; must not exist")
    args = parser.parse_args(arguments)
    backbone = convert(args.input, args.output)
    print(f"{args.input}\n{backbone.account()}\nwrote   {args.output}")


def convert(source: Path, output: Path) -> Backbone:
    """Converts one file.

    Raises:
      UserError: the file is not what it should be, or the output exists; nothing is left behind.
    """
    refuse_existing(output)
    backbone = convert_videomae(load_state_dict(source), source)
    account = dataclasses.asdict(backbone)
    del account["params"]
    save_backbone(output, backbone.params, {"source": source.name, **account})
    return backbone


if __name__ == "__main__":
    cli.run(main)
