"""Evaluates a trained detector, or the detections of any tool.

    python -m adatad_jax.evaluate --config configs/thumos_s.py [--workdir DIR] [--step N|best|latest]
    python -m adatad_jax.evaluate --results results.json --annotations gt.json --subset validation --output DIR

With `--checkpoint FILE_OR_FOLDER` the detector comes from a checkpoint of the PyTorch release, or from a folder that
convert/pth_to_flax.py wrote.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from adatad_jax import cli
from adatad_jax.config.load import load_config
from adatad_jax.console import make_console
from adatad_jax.devices.compilation import keep_compiled
from adatad_jax.devices.launch import require_one_process
from adatad_jax.evaluation.results_forms import TASKS
from adatad_jax.evaluation.summary import METRICS_FILE
from adatad_jax.pipelines.evaluate_detector import evaluate
from adatad_jax.pipelines.evaluate_results import TIOUS, GivenResults, evaluate_results
from adatad_jax.report.page import REPORT_FILE
from adatad_jax.training.retention import LATEST
from adatad_jax.weights.object_store import working_copy

_MOST_TIOUS = 100
_OF_RESULTS = (
    "annotations",
    "subset",
    "output",
    "tious",
    "classes",
    "blocked",
    "videos",
    "task",
    "nouns",
    "noun_classes",
    "format",
    "label_from",
    "point_seconds",
)


def main(arguments: Sequence[str]) -> None:
    """Parses the command line and evaluates.

    Args:
      arguments: the command line without the program's name.

    Raises:
      UserError: the files, the configuration or the detector cannot be used.
    """
    require_one_process("evaluate")
    parser = make_parser()
    args, overrides = cli.parse_overrides(parser, arguments)
    given = [f"--{name.replace('_', '-')}" for name in _OF_RESULTS if getattr(args, name) is not None]
    if args.results is not None:
        if args.config or args.checkpoint or args.workdir or overrides or args.step != LATEST:
            parser.error("--results needs no detector: not allowed with --config, --checkpoint, --workdir and --step")
        if args.annotations is None or args.output is None:
            parser.error("--results also needs --annotations and --output")
        if args.nouns is not None and args.task is not None:
            parser.error("--nouns measures actions: not allowed with --task")
        if args.noun_classes is not None and (args.classes is None or (args.nouns is None and args.task != "action")):
            parser.error("--noun-classes needs --classes, those of verbs, and --nouns or --task action")
        evaluate_results(given_results(args), make_console())
        return
    if given:
        parser.error(f"{', '.join(given)}: only with --results; for a detector see --config and --workdir")
    if args.config is None and args.checkpoint is None:
        parser.error("one of --config and --checkpoint is needed, or --results")
    config = load_config(args.config, overrides) if args.config else None
    keep_compiled(config.compilation_cache if config else "")
    # A folder's name may hold a dot, which is no suffix.
    checkpoint = args.checkpoint.resolve() if args.checkpoint else args.config
    workdir = args.workdir or Path("runs") / (checkpoint.name if checkpoint.is_dir() else checkpoint.stem)
    with working_copy(workdir) as folder:
        evaluate(config, folder, make_console(), args.checkpoint, overrides, args.step)


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser with the options of both forms."""
    parser = cli.config_parser(
        "Evaluate a trained detector on the config's test subset (--config, --checkpoint), or the detections of any "
        "tool against annotations (--results).",
        required=False,
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        help="a run's folder, a detector checkpoint of the PyTorch release, or a folder of convert/pth_to_flax.py, in "
        "place of the run of --workdir; results go to --workdir (default then: runs/NAME_OF_CHECKPOINT); --config is "
        "not needed if the checkpoint determines it",
    )
    cli.add_step_option(parser)
    group = parser.add_argument_group("detections of any tool")
    group.add_argument(
        "--results",
        type=Path,
        help="ActivityNet results format (JSON), an Ego4D or EPIC-Kitchens submission, or a table "
        "video,start,end,label,score or with ActionFormer's columns (.csv); times in seconds",
    )
    group.add_argument("--annotations", type=Path, help="ground truth: any annotation file that training reads")
    cli.add_reading_options(group)
    group.add_argument("--subset", help="spelled as in the annotations; not needed if they have only one")
    group.add_argument("--output", type=Path, help=f"folder for {METRICS_FILE} and {REPORT_FILE}")
    group.add_argument(
        "--tious",
        type=parse_tious,
        help="tIoU thresholds that mAP is averaged over: 0.5,0.75,0.95 or start:step:end. "
        f"Default: {', '.join(f'{tiou:g}' for tiou in TIOUS)}, as for THUMOS-14. "
        "ActivityNet-1.3: 0.5:0.05:0.95; Multi-THUMOS, Charades: 0.1:0.1:0.9; EPIC-Kitchens, Ego4D: "
        "0.1:0.1:0.5",
    )
    group.add_argument(
        "--classes",
        type=Path,
        help="class names, one per line, in the tables' order (default: sorted); labels that are numbers count its "
        "lines from 0, unless each line has its number, as in 7 BaseballPitch or EPIC_100_verb_classes.csv",
    )
    group.add_argument(
        "--noun-classes", type=Path, help="the same of nouns, for actions, where --classes are those of verbs"
    )
    group.add_argument("--task", choices=TASKS, help="what to measure of an EPIC-Kitchens submission")
    group.add_argument(
        "--nouns",
        type=Path,
        help="detections of nouns, where --results are those of verbs: overlapping ones are paired, and measured "
        'against annotations of actions, whose labels are "verb,noun", such as "3,1"',
    )
    group.add_argument("--blocked", type=Path, help="JSON list of videos to leave out, as ActivityNet's blocked.json")
    group.add_argument(
        "--videos",
        type=Path,
        help="folder of the video files, for thumbnails in the report, and for the rates of annotations in frames",
    )
    return parser


def given_results(args: argparse.Namespace) -> GivenResults:
    """Returns what a command line with --results measures."""
    return GivenResults(
        results=args.results,
        annotations=args.annotations,
        output=args.output,
        options=cli.reading_options(args),
        subset=args.subset,
        tious=args.tious or TIOUS,
        classes=args.classes,
        noun_classes=args.noun_classes,
        task=args.task or "",
        nouns=args.nouns,
        blocked=args.blocked,
        videos=args.videos,
    )


def parse_tious(text: str) -> tuple[float, ...]:
    """Reads tIoU thresholds from `0.3,0.5` or `0.3:0.1:0.7` (start:step:end, with the end).

    Raises:
      argparse.ArgumentTypeError: the text is neither, has over 100 thresholds, repeats one, or one is not in (0, 1].
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
        raise argparse.ArgumentTypeError(f'"{text}": expected thresholds such as 0.5,0.75 or 0.3:0.1:0.7') from None
    if not all(0 < tiou <= 1 for tiou in tious):
        raise argparse.ArgumentTypeError(f'"{text}": thresholds are above 0 and at most 1')
    if len({f"{tiou:g}" for tiou in tious}) < len(tious) or len(tious) > _MOST_TIOUS:
        raise argparse.ArgumentTypeError(f'"{text}": expected different thresholds, at most {_MOST_TIOUS}')
    return tuple(tious)


def entry() -> None:
    """Runs the command as a console script."""
    cli.run(main)


if __name__ == "__main__":
    entry()
