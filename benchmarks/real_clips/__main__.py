"""The whole course on clips of real people: `python -m benchmarks.real_clips --data DIR`, in a quarter of an hour.

DIR has two folders of public videos: `ut_interaction`, UT-Interaction (SDHA 2010) as trimmed clips
`setN_INDEX_SEQUENCE_CLASS.avi`, and `gmdcsa24`, GMDCSA24 (Zenodo 12921216) as `Subject_N_KIND_NN.mp4` with its CSV
files. In each of four folds, a small VideoMAE is pre-trained by masking, fine-tuned to tell six interactions and
background apart (and once more from random weights), and adapted to detect what the held-out subject does. With
`--write`, the tables go into `benchmarks/RESULTS.md`, and a picture of detections into `docs/images`.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from adatad_jax import cli
from adatad_jax.config.fields import Config
from adatad_jax.console import make_console
from adatad_jax.devices.compilation import keep_compiled
from adatad_jax.devices.launch import require_one_process
from adatad_jax.errors import UserError
from adatad_jax.files import check_output_folder
from adatad_jax.inference.detector import load
from adatad_jax.outputs.targets import plan
from adatad_jax.pipelines.detect_in_files import DetectionOptions, detect_files
from benchmarks.real_clips.folds import FOLDS, TEST, Fold, fold_of, make_fold
from benchmarks.real_clips.footage import GMDCSA, Clip, find_clips, missing, write_all
from benchmarks.real_clips.trainings import FULL, QUICK, detector_folder, run_fold
from benchmarks.real_clips.written import report
from benchmarks.results import RESULTS, add_write_option, dated, write_between

NAME = "benchmarks.real_clips"
IMAGES = Path(__file__).parents[2] / "docs/images"
PICTURE, LICENSE = "real_clips.png", "real_clips.LICENSE"
PICTURED = "Subject_2_Fall_12"  # chosen beforehand: the longest video, of three classes


def main(arguments: Sequence[str]) -> None:
    """Trains what is left to train, and prints the tables.

    Args:
      arguments: the command line without the program's name.

    Raises:
      UserError: a video or its intervals cannot be read, or the folder holds runs of other lengths.
    """
    require_one_process(NAME)
    parser = make_parser()
    args = parser.parse_args(arguments)
    if args.quick and args.write:
        parser.error("--quick is for trying out: its figures are not written")
    console = make_console()
    if reason := missing(args.data):
        console.print(f"skipped: {reason}")
        return
    workdir = args.workdir / "quick" if args.quick else args.workdir
    check_output_folder(workdir, checkpoints=True)
    keep_compiled(Config().compilation_cache)
    clips = find_clips(args.data, workdir / "clips")
    write_all(clips, console)
    folds = [make_fold(clips, number, workdir / f"fold_{number}", args.data) for number in range(FOLDS)]
    epochs, taken = (QUICK, folds[:1]) if args.quick else (FULL, folds)
    results = [run_fold(fold, workdir / "clips", epochs, console) for fold in taken]
    text = report(results, clips, [count_intervals(fold) for fold in folds])
    console.print(text)
    if args.write:
        picture = draw_detections(clips, folds, workdir / "detections", args.data, console)
        write_between(NAME, f"{dated(NAME)}\n\n{text}\n\n{picture}")
        console.print(f"wrote {RESULTS} and {IMAGES / PICTURE}")


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {NAME}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with ut_interaction and gmdcsa24")
    parser.add_argument("--workdir", type=Path, default=Path("runs/real_clips"), help="folder for clips and runs")
    parser.add_argument("--quick", action="store_true", help="one fold, a few epochs, in three minutes")
    add_write_option(parser)
    return parser


def count_intervals(fold: Fold) -> int:
    """Returns the number of intervals of a fold's held-out subject."""
    database = json.loads(fold.annotations.read_text())["database"]
    return sum(len(entry["annotations"]) for entry in database.values() if entry["subset"] == TEST)


def draw_detections(clips: Sequence[Clip], folds: Sequence[Fold], folder: Path, data: Path, console: Console) -> str:
    """Draws what the detector that has not seen them finds in one video, and what is annotated.

    The licence of the video goes beside the picture.

    Args:
      clips: all.
      folds: all, trained.
      folder: for the detector's files.
      data: folder with the folder `GMDCSA`.
      console: where to report.

    Returns:
      The picture as Markdown.

    Raises:
      UserError: detecting failed.
    """
    clip = next(clip for clip in clips if clip.path.stem == PICTURED)
    fold = folds[fold_of(clip)]
    annotations = json.loads(fold.annotations.read_text())["database"][PICTURED]["annotations"]
    truth = [(*one["segment"], one["label"]) for one in annotations]
    jobs = plan([clip.path], folder)
    failures = detect_files(
        load(detector_folder(fold)), jobs, DetectionOptions(again=True), console, truth={PICTURED: truth}
    )
    if failures:
        raise UserError(failures[0])
    IMAGES.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(jobs[0].file(".png"), IMAGES / PICTURE)
    shutil.copyfile(data / GMDCSA / "LICENSE", IMAGES / LICENSE)
    return (
        f"![detections in a video of GMDCSA24, and what is annotated](../docs/images/{PICTURE})\n\n"
        f"{PICTURED} of GMDCSA24 (Zenodo 12921216, Ekram Alam, [MIT licence](../docs/images/{LICENSE})), a video "
        "chosen beforehand, by the detector of the fold that holds its subject out."
    )


def entry() -> None:
    """Runs the command line."""
    cli.run(main)


if __name__ == "__main__":
    entry()
