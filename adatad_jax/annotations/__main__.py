"""Converts annotation files: `python -m adatad_jax.annotations FILE... --output my.csv`, or `adatad annotations`.

Reads the files of labelling tools and data sets, and the detections of `detect`; writes a table, the release's JSON,
Label Studio's tasks, or ELAN's text.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from adatad_jax import cli
from adatad_jax.annotations.recognise import FORMATS
from adatad_jax.console import make_console
from adatad_jax.errors import UserError
from adatad_jax.pipelines.convert_annotations import DATABASE, ELAN, KINDS, TABLE, Conversion, convert_annotations

USUAL = {".csv": TABLE, ".json": DATABASE, ".txt": ELAN, ".tsv": ELAN, "": ELAN}  # what a suffix stands for


def main(arguments: Sequence[str]) -> None:
    """Parses the command line, reads the files, and writes them in one other format.

    Args:
      arguments: the command line without the program's name.

    Raises:
      UserError: a file cannot be read or written, or does not hold what the other format needs.
    """
    args = make_parser().parse_args(arguments)
    kind = args.to or USUAL.get(args.output.suffix.lower())
    if kind is None:
        raise UserError(f"--output={args.output}: its name does not tell the format; add --to {', '.join(KINDS)}")
    wanted = Conversion(
        files=args.files,
        output=args.output,
        kind=kind,
        options=cli.reading_options(args),
        videos=args.videos,
        fps=args.fps or 0.0,
        threshold=args.threshold,
        skip_broken=args.skip_broken,
        subset=args.subset,
    )
    convert_annotations(wanted, make_console())


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser of the command line."""
    formats = "\n".join(f"  {one.key:18s}{one.name}" for one in FORMATS)
    parser = argparse.ArgumentParser(
        description="Convert annotation files of labelling tools and data sets, and detections, into one other format.",
        epilog=f"formats that are read, recognised by their content (--format names one):\n{formats}\n\n"
        "examples:\n"
        "  python -m adatad_jax.annotations boris.csv --output my.csv\n"
        "  python -m adatad_jax.annotations found/*.json --threshold 0.5 --videos DIR --to label-studio --output "
        "tasks.json\n"
        "  python -m adatad_jax.annotations corrected.json --videos DIR --output my.csv",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="annotation files, or folders of them")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="file to write, which must not exist: .csv a table, .json the release's JSON, .txt ELAN; a name without "
        "suffix: a folder with an ELAN text per video",
    )
    parser.add_argument("--to", choices=KINDS, help="format to write, where the name of --output does not tell")
    parser.add_argument(
        "--videos", type=Path, help="folder of the video files: their names, lengths and frame rates are used"
    )
    cli.add_reading_options(parser)
    parser.add_argument(
        "--fps",
        type=cli.positive_number,
        help="rate that the annotations count frames at (default: as they say, or that of the video); for --to "
        "label-studio, the rate to write",
    )
    parser.add_argument(
        "--threshold", type=cli.any_number, help="least score of detections to keep (default: keep all)"
    )
    parser.add_argument(
        "--skip-broken",
        action="store_true",
        help="leave out videos that have no file in --videos, or a row that cannot be read, and list them",
    )
    parser.add_argument("--subset", help="name of the subset of videos whose annotations name none")
    return parser


def entry() -> None:
    """Runs the command as a console script."""
    cli.run(main)


if __name__ == "__main__":
    entry()
