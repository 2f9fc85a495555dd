"""Checks a data set before a run: `python -m adatad_jax.doctor --config configs/thumos_s.py [--output DIR]`.

The command prints what the data set holds and everything that is wrong with it, and writes the same to `report.json`
and, as a picture, to `report.png`. Exit code 0: a run can start; 1: a run cannot start; 2: wrong usage.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from adatad_jax import cli
from adatad_jax.console import make_console
from adatad_jax.diagnosis.diagnose import diagnose
from adatad_jax.diagnosis.picture import draw_report
from adatad_jax.diagnosis.printed import print_report
from adatad_jax.diagnosis.report import report_to_json
from adatad_jax.errors import Exit, UserError
from adatad_jax.files import write_text

REPORT_FILE = "report.json"
PICTURE_FILE = "report.png"


def main(arguments: Sequence[str]) -> None:
    """Parses the command line, checks the data set and reports; exits with code 1 if a run cannot start.

    Args:
      arguments: the command line without the program's name.

    Raises:
      UserError: the output folder cannot be made, or a field of the configuration cannot work.
    """
    parser = cli.config_parser("Check a data set: annotations, segments, and every video file.")
    parser.add_argument("--output", type=Path, help="folder of report.json and report.png (default: WORKDIR/doctor)")
    args, config = cli.parse(parser, arguments)
    output, console = args.output or args.workdir / "doctor", make_console()
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{output}: cannot be made ({error.strerror}); choose another --output") from error
    report = diagnose(config, console)
    write_text(output / REPORT_FILE, json.dumps(report_to_json(report), indent=1) + "\n")
    files = REPORT_FILE
    if report.subsets:
        draw_report(report, output / PICTURE_FILE, args.config.stem)
        files += f" and {PICTURE_FILE}"
    print_report(report, console)
    console.print(f"wrote {files} into {output}")
    if not report.fit:
        sys.exit(Exit.PARTLY)


def entry() -> None:
    """Runs the command as a console script."""
    cli.run(main)


if __name__ == "__main__":
    entry()
