"""Finds actions in any video: `python -m adatad_jax.detect --workdir DIR --output OUT VIDEO|FOLDER...`.

With `--checkpoint FILE_OR_FOLDER` in place of `--workdir`, the detector comes from a checkpoint of the PyTorch release,
or from a folder that convert/pth_to_flax.py wrote.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from adatad_jax import cli
from adatad_jax.console import make_console
from adatad_jax.devices.compilation import keep_compiled
from adatad_jax.errors import Exit
from adatad_jax.files import check_output_folder
from adatad_jax.inference.detector import load
from adatad_jax.outputs.targets import ANNOTATED, plan
from adatad_jax.pipelines.detect_in_files import DetectionOptions, detect_files


def main(arguments: Sequence[str]) -> None:
    """Parses the command line and detects; exits with code 1 if a video failed.

    Args:
      arguments: the command line without the program's name.

    Raises:
      UserError: the arguments, the detector or the output folder cannot be used.
    """
    parser = argparse.ArgumentParser(
        description="Find actions in videos with a trained detector. For each, OUTPUT gets NAME.json and NAME.csv (all "
        "detections), NAME.srt and NAME.vtt (subtitles that show the good ones in any player) and NAME.png (a "
        "timeline). Videos that an earlier run finished with the same detector and options are skipped.",
        allow_abbrev=False,
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--workdir", type=Path, help="folder of the training run")
    which.add_argument(
        "--checkpoint",
        type=Path,
        help="a run's folder, a detector checkpoint of the PyTorch release, or a folder of convert/pth_to_flax.py",
    )
    parser.add_argument(
        "--config",
        type=Path,
        help="configuration of --checkpoint, with --config.FIELD=VALUE; not needed if the checkpoint determines it",
    )
    cli.add_step_option(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder to write into")
    parser.add_argument("--threshold", type=float, help="least score of a detection, in [0, 1] (default: keep all)")
    parser.add_argument("--top", type=int, metavar="N", help="keep at most the N best detections per video")
    parser.add_argument(
        "--label", action="append", metavar="NAME", help="keep detections of this class; may be given several times"
    )
    parser.add_argument("--fps", type=float, help="frames per second of the videos, if not as in the files")
    parser.add_argument(
        "--skip-damaged",
        type=float,
        metavar="SHARE",
        help="go on where frames are damaged, as long as they are at most this share of a video, such as 0.05: the "
        "last sound frame stands for them, and JSON, CSV and timeline mark the stretch; without it damage is an error",
    )
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="windows computed at once (default: 1)")
    parser.add_argument("--annotate", action="store_true", help=f"also write NAME{ANNOTATED}, with detections drawn in")
    parser.add_argument("--again", action="store_true", help="redo videos that an earlier run has done")
    parser.add_argument(
        "videos", type=Path, nargs="+", metavar="VIDEO|FOLDER", help="videos of any length and format, or folders"
    )
    args, overrides = cli.parse_overrides(parser, arguments)
    if args.workdir and (args.config or overrides):
        parser.error("--config belongs to --checkpoint; a run is used as it was trained")
    jobs = plan(args.videos, args.output)
    check_output_folder(args.output)
    path = args.workdir or args.checkpoint
    detector = load(path, args.config, overrides=overrides, batch=args.batch, step=args.step)
    keep_compiled(detector.config.compilation_cache)
    labels = tuple(args.label) if args.label else None
    options = DetectionOptions(args.threshold, args.top, labels, args.fps, args.skip_damaged, args.annotate, args.again)
    if detect_files(detector, jobs, options, make_console()):
        sys.exit(Exit.PARTLY)


def entry() -> None:
    """Runs the command as a console script."""
    cli.run(main)


if __name__ == "__main__":
    entry()
