"""Evaluates a trained detector, or the detections of any tool.

    python -m adatad_jax.evaluate --config configs/thumos_s.py [--workdir DIR]
    python -m adatad_jax.evaluate --results results.json --annotations gt.json --subset validation --output DIR

With `--checkpoint FILE_OR_FOLDER` the detector is one of the PyTorch release, or one that convert/pth_to_flax.py
converted.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict
from rich.console import Console

from adatad_jax import cli
from adatad_jax.config.fields import make_model
from adatad_jax.data.annotations import read_classes
from adatad_jax.data.usable_videos import find_files
from adatad_jax.errors import UserError
from adatad_jax.evaluation.mean_ap import Metrics
from adatad_jax.evaluation.results_file import read_results
from adatad_jax.evaluation.summary import METRICS_FILE, RESULTS_FILE, write_results
from adatad_jax.evaluation.truth_file import leave_out, load_truth, read_blocked
from adatad_jax.files import check_output_folder
from adatad_jax.inference.predictor import Predictor
from adatad_jax.inference.test_set import load_evaluation
from adatad_jax.postprocessing.video_classifier import VIDEO_PREFIX
from adatad_jax.report.evaluated import REPORT_FILE, assess, print_evaluated, write_evaluated
from adatad_jax.train import check_paths
from adatad_jax.weights.load import load_trained

TIOUS = (0.3, 0.4, 0.5, 0.6, 0.7)
_MOST_TIOUS = 100
_OF_RESULTS = ("annotations", "subset", "output", "tious", "classes", "blocked", "videos")


def main(arguments: Sequence[str]) -> None:
    """Parses the command line and evaluates."""
    parser = make_parser()
    args, overrides = cli.parse_overrides(parser, arguments)
    given = [f"--{name}" for name in _OF_RESULTS if getattr(args, name) is not None]
    if args.results is not None:
        if args.config or args.checkpoint or args.workdir or overrides:
            parser.error("--results needs no detector: not allowed with --config, --checkpoint and --workdir")
        if args.annotations is None or args.output is None:
            parser.error("--results also needs --annotations and --output")
        evaluate_results(args, cli.make_console())
        return
    if given:
        parser.error(f"{', '.join(given)}: only with --results; for a detector see --config and --workdir")
    if args.config is None and args.checkpoint is None:
        parser.error("one of --config and --checkpoint is needed, or --results")
    config = cli.load_config(args.config, overrides) if args.config else None
    # A folder's name may hold a dot.
    checkpoint = args.checkpoint.resolve() if args.checkpoint else args.config
    workdir = args.workdir or Path("runs") / (checkpoint.name if checkpoint.is_dir() else checkpoint.stem)
    evaluate(config, workdir, cli.make_console(), args.checkpoint, overrides)


def make_parser() -> argparse.ArgumentParser:
    """The options of both forms."""
    parser = cli.config_parser(
        "Evaluate a trained detector on the config's test subset (--config, --checkpoint), or the detections of any "
        "tool against annotations (--results).",
        required=False,
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        help="a detector checkpoint of the PyTorch release, or a folder of convert/pth_to_flax.py, in place of the "
        "run's latest; results go to --workdir (default then: runs/NAME_OF_CHECKPOINT); --config may be left out "
        "where the checkpoint tells which it is",
    )
    group = parser.add_argument_group("detections of any tool")
    group.add_argument(
        "--results",
        type=Path,
        help="ActivityNet results format (JSON), or a table video,start,end,label,score (.csv); times in seconds",
    )
    group.add_argument("--annotations", type=Path, help="ground truth: any annotation file that training reads")
    group.add_argument("--subset", help="spelled as in the annotations; may be left out where they have one only")
    group.add_argument("--output", type=Path, help=f"folder for {METRICS_FILE} and {REPORT_FILE}")
    group.add_argument(
        "--tious",
        type=parse_tious,
        help="tIoU thresholds that mAP is averaged over: 0.5,0.75,0.95 or start:step:end. Default: 0.3:0.1:0.7, as "
        "for THUMOS-14. ActivityNet-1.3: 0.5:0.05:0.95; Multi-THUMOS, Charades: 0.1:0.1:0.9; EPIC-Kitchens, Ego4D: "
        "0.1:0.1:0.5",
    )
    group.add_argument("--classes", type=Path, help="class names, one a line: their order in tables (default: sorted)")
    group.add_argument("--blocked", type=Path, help="JSON list of videos to leave out, as ActivityNet's blocked.json")
    group.add_argument("--videos", type=Path, help="folder of the video files, for thumbnails in the report")
    return parser


def parse_tious(text: str) -> tuple[float, ...]:
    """Thresholds from `0.3,0.5` or `0.3:0.1:0.7` (start:step:end, with the end).

    Raises:
      argparse.ArgumentTypeError: it is neither, has over 100 thresholds, repeats one, or one is not in (0, 1].
    """
    tious: list[float] = []
    try:
        for part in text.split(","):
            match [float(number) for number in part.split(":")]:
                case [tiou]:
                    tious.append(tiou)
                case [start, step, end] if step > 0 and 0 <= (end - start) / step <= _MOST_TIOUS:
                    count = round((end - start) / step) + 1
                    tious += [round(start + i * step, 10) for i in range(count) if start + i * step < end + step / 2]
                case _:
                    raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{text}", expected such as 0.5,0.75 or 0.3:0.1:0.7') from None
    if not all(0 < tiou <= 1 for tiou in tious):
        raise argparse.ArgumentTypeError(f'"{text}": thresholds are above 0 and at most 1')
    if len({f"{tiou:g}" for tiou in tious}) < len(tious) or len(tious) > _MOST_TIOUS:
        raise argparse.ArgumentTypeError(f'"{text}": expected different thresholds, at most {_MOST_TIOUS}')
    return tuple(tious)


def evaluate(
    config: ConfigDict | None,
    workdir: Path,
    console: Console,
    checkpoint: Path | None = None,
    overrides: Sequence[str] = (),
) -> Metrics:
    """Detects in the test videos, writes `results.json`, `metrics.json` and `report.html`, and prints tables.

    Args:
      config: to evaluate with; None takes that of the checkpoint.
      workdir: folder to write into.
      console: where to report.
      checkpoint: what to evaluate, as `load_trained` takes it; None evaluates the run in `workdir`.
      overrides: `--config.FIELD=VALUE`, as `load_trained` takes them.

    Raises:
      UserError: data, run or checkpoint is missing or does not fit; nothing has been written then.
    """
    if config is not None:
        check_paths(config, weights=False)
    check_output_folder(workdir)
    config, classes, params, name, origin = load_trained(checkpoint or workdir, config, overrides)
    check_paths(config, weights=False)
    cli.set_precision(config.model.dtype)
    console.print(origin)
    evaluation = load_evaluation(config, classes)
    predictor = Predictor(make_model(config, len(classes)), params, config.test.batch_size)
    results = evaluation.detect(predictor, console)
    # Kept whatever comes next: they took the longest.
    write_results(workdir, results, evaluation.classes)
    folder = Path(config.data.videos)
    evaluated = assess(
        evaluation.truth,
        results,
        evaluation.durations,
        evaluation.classes,
        config.test.tious,
        title=workdir.resolve().name,
        origin=origin,
        subset=config.data.test_subset,
        published=config.published or None,
        files=find_files(folder, list(evaluation.durations), config.data.video_prefix)[0] if folder.is_dir() else {},
    )
    try:
        write_evaluated(workdir, evaluated, {"checkpoint": origin}, config.data.time_limit)
    finally:  # neither is lost with the other: the disk may be full, the pipe closed
        print_evaluated(evaluated, f"{config.data.test_subset}: {len(results)} videos, {name}", console)
    console.print(f"wrote {RESULTS_FILE}, {METRICS_FILE} and {REPORT_FILE} into {workdir}")
    return evaluated.metrics


def evaluate_results(args: argparse.Namespace, console: Console) -> Metrics:
    """Measures a results file, writes `metrics.json` and `report.html`, and prints tables.

    Args:
      args: of `make_parser`, with --results, --annotations and --output.
      console: where to report.

    Raises:
      UserError: a file is missing or wrong, or they do not belong together; nothing has been written then.
    """
    check_output_folder(args.output)
    if args.videos is not None and not args.videos.is_dir():
        raise UserError(f"--videos={args.videos}: no such folder; expected that of the video files")
    annotated = load_truth(args.annotations, args.subset, read_classes(args.classes) if args.classes else ())
    results, classes = read_results(args.results, annotated.classes)
    notes = []
    if args.blocked is not None:
        annotated, results, note = leave_out(read_blocked(args.blocked), annotated, results)
        notes.append(note)
    subset = annotated.subset or "all videos"
    evaluated = assess(
        annotated.truth,
        results,
        annotated.durations,
        classes,
        args.tious or TIOUS,
        title=args.results.stem,
        origin=f"{args.results}, measured against {args.annotations}",
        subset=subset,
        files=_files(args.videos, list(annotated.truth)) if args.videos is not None else {},
        notes=notes,
    )
    about = {"results": str(args.results), "annotations": str(args.annotations), "subset": annotated.subset}
    try:
        write_evaluated(args.output, evaluated, about)
    finally:
        print_evaluated(evaluated, f"{subset}: {len(annotated.truth)} videos, {args.results.name}", console)
    console.print(f"wrote {METRICS_FILE} and {REPORT_FILE} into {args.output}")
    return evaluated.metrics


def _files(folder: Path, videos: Sequence[str]) -> dict[str, Path]:
    """The files that are there, whether their names begin with "v_" or not."""
    files, missing = find_files(folder, videos)
    return files | find_files(folder, list(missing), VIDEO_PREFIX)[0]


def entry() -> None:
    """Console script."""
    cli.run(main)


if __name__ == "__main__":
    entry()
