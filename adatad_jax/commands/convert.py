"""Converts a PyTorch checkpoint to Flax parameters: `adatad convert INPUT OUTPUT`, or `python convert/pth_to_flax.py`.

INPUT is a VideoMAE or a whole AdaTAD detector; layout and size are recognised. OUTPUT becomes a folder: of a VideoMAE,
with its decoder or classifier, for `--config.weights` in every training and `--checkpoint` of classify, of a detector
for `--checkpoint` in evaluation and detection. A summary that accounts for every tensor is printed and kept in
OUTPUT/conversion.json; `--dry-run` prints it and writes nothing.

What a detector's tensors do not show (class names, attention windows, frame rate, ...) comes from `--config FILE`, or
from the only file in configs/ that fits; single fields are set by `--config.FIELD=VALUE`, such as
--config.data.classes=labels.txt.

With `--backbone-only`, a detector on an AdaTAD backbone gives its backbone and adapters alone, whatever its head. A
training with the folder as `--config.weights` starts from both, and from a new head.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from adatad_jax import cli
from adatad_jax.config.load import load_config
from adatad_jax.weights.convert_file import convert_file
from adatad_jax.weights.load import published_configs


def main(arguments: Sequence[str]) -> None:
    """Parses the command line and converts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "input", type=Path, metavar="INPUT", help=".pth, .bin, .safetensors, or a Hugging Face directory"
    )
    parser.add_argument("output", type=Path, nargs="?", metavar="OUTPUT", help="folder to write; must not exist")
    parser.add_argument("--dry-run", action="store_true", help="print the summary, write nothing")
    parser.add_argument("--config", type=Path, help="configuration file of a whole detector")
    parser.add_argument(
        "--backbone-only",
        action="store_true",
        help="take the backbone and its adapters out of a detector of any head, for --config.weights in training",
    )
    args, overrides = cli.parse_overrides(parser, arguments)
    if args.output is None and not args.dry_run:
        parser.error("OUTPUT is missing: the folder to write, or --dry-run to write nothing")
    config = load_config(args.config, overrides) if args.config else None
    output = None if args.dry_run else args.output
    print(convert_file(args.input, output, config, published_configs(), overrides, args.backbone_only))


def entry() -> None:
    """Runs the script."""
    cli.run(main)


if __name__ == "__main__":
    entry()
