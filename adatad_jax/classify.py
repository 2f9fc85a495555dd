"""Says what a classifier sees in videos: `python -m adatad_jax.classify --checkpoint FILE VIDEO|FOLDER...`.

The quick proof that a checkpoint was converted right: the published classifiers of Kinetics-400 name what happens in
everyday videos.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from adatad_jax import cli
from adatad_jax.console import make_console
from adatad_jax.devices.compilation import keep_compiled
from adatad_jax.errors import Exit, UserError
from adatad_jax.files import check_output_folder, write_text
from adatad_jax.pipelines.classify_files import Views, classify_files
from adatad_jax.video.steady import check_fps
from adatad_jax.weights.load_classifier import load_classifier


def main(arguments: Sequence[str]) -> None:
    """Parses the command line and classifies; exits with code 1 if a video failed.

    Args:
      arguments: the command line without the program's name.

    Raises:
      UserError: the arguments or the checkpoint cannot be used.
    """
    parser = argparse.ArgumentParser(
        description="Say what a checkpoint with a classifier sees in videos: the most probable classes of each.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        required=True,
        help="a VideoMAE file with a classifier (.pth, .safetensors, a folder of Hugging Face), a folder of "
        "convert/pth_to_flax.py, or a run of finetune",
    )
    cli.add_step_option(parser)
    parser.add_argument("--classes", type=Path, help="text file, one class per line (default: the checkpoint's)")
    parser.add_argument("--top", type=cli.positive_count, default=5, metavar="N", help="classes to name (default: 5)")
    parser.add_argument(
        "--clips", type=cli.positive_count, default=5, metavar="N", help="clips, spread over a video (default: 5)"
    )
    parser.add_argument(
        "--crops",
        type=cli.positive_count,
        default=3,
        metavar="N",
        help="crops of a clip, along its long side (default: 3)",
    )
    parser.add_argument(
        "--stride", type=cli.positive_count, metavar="N", help="source frames per frame of a clip (default: as trained)"
    )
    parser.add_argument("--batch", type=cli.positive_count, default=8, metavar="N", help="views at once (default: 8)")
    parser.add_argument(
        "--fps", type=cli.positive_number, help="frames per second of the videos, if not as in the files"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the probabilities of all classes there")
    parser.add_argument("videos", type=Path, nargs="+", metavar="VIDEO|FOLDER", help="videos of any length and format")
    args = parser.parse_args(arguments)
    _check(args.json, args.fps)
    keep_compiled("")
    trained = load_classifier(args.checkpoint, args.step, args.classes)
    views = Views(args.clips, args.crops, args.stride or trained.stride, args.fps)
    found = classify_files(trained, args.videos, views, args.batch, args.top, make_console())
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        write_text(args.json, json.dumps(found.probabilities, indent=1, ensure_ascii=False) + "\n")
    if found.failures:
        sys.exit(Exit.PARTLY)


def _check(output: Path | None, fps: float | None) -> None:
    """Raises `UserError` for a rate that no video has, or a file that cannot be written: before all the work."""
    if fps is not None:
        check_fps(fps)
    if output is not None:
        if output.is_dir():
            raise UserError(f"--json={output}: a folder, expected the name of a file")
        check_output_folder(output.parent)


def entry() -> None:
    """Runs the command as a console script."""
    cli.run(main)


if __name__ == "__main__":
    entry()
