"""Evaluation of the detections of any tool against annotations."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from adatad_jax.annotations.records import Options
from adatad_jax.config.fields import EvaluationConfig
from adatad_jax.evaluation.actions import combine
from adatad_jax.evaluation.mean_ap import Metrics
from adatad_jax.evaluation.results_file import Results, read_results, read_rows, with_class_names
from adatad_jax.evaluation.results_forms import TASKS
from adatad_jax.evaluation.results_labels import ClassList, pair_classes, read_class_list
from adatad_jax.evaluation.summary import METRICS_FILE
from adatad_jax.evaluation.truth_file import leave_out, load_truth, read_blocked
from adatad_jax.files import check_output_folder
from adatad_jax.report.evaluated import evaluate_detections, print_evaluated
from adatad_jax.report.page import REPORT_FILE, write_evaluated
from adatad_jax.video.names import VIDEO_PREFIX, check_videos_folder, find_files

TIOUS = EvaluationConfig().tious


@dataclass(frozen=True)
class GivenResults:
    """Detections of any tool, and what they are measured against.

    Attributes:
      results: the file of the detections.
      annotations: the ground truth; read as `options` says.
      output: folder to write into.
      options: how to read the annotations.
      subset: spelled as in the annotations; None: they have only one.
      tious: thresholds that mAP is averaged over.
      classes, noun_classes: files of class names; None: those of the annotations.
      task: what an EPIC-Kitchens submission is measured for; empty: the file is none.
      nouns: detections of nouns, where `results` are those of verbs.
      blocked: JSON list of videos to leave out.
      videos: folder of the video files.
    """

    results: Path
    annotations: Path
    output: Path
    options: Options
    subset: str | None
    tious: Sequence[float]
    classes: Path | None
    noun_classes: Path | None
    task: str
    nouns: Path | None
    blocked: Path | None
    videos: Path | None


def evaluate_results(args: GivenResults, console: Console) -> Metrics:
    """Measures a results file, writes `metrics.json` and `report.html`, and prints tables.

    Args:
      args: what to measure.
      console: where to report.

    Returns:
      The mAP metrics of the detections.

    Raises:
      UserError: a file is missing or wrong, or the files do not belong together. Nothing is written then.
    """
    check_output_folder(args.output)
    check_videos_folder(args.videos)
    annotated = load_truth(args.annotations, args.subset, args.options, args.videos)
    class_list = read_class_list(args.classes, annotated.classes) if args.classes else None
    if class_list and args.noun_classes:
        nouns = read_class_list(args.noun_classes, annotated.classes)
        class_list = pair_classes(class_list, nouns, annotated.classes)
    results, classes, read_notes = _read(args, annotated.classes, class_list)
    annotated = annotated.with_classes(class_list.names if class_list else ())
    notes = [*read_notes]
    if args.blocked is not None:
        annotated, results, note = leave_out(read_blocked(args.blocked), annotated, results)
        notes.append(note)
    subset = annotated.subset or "all videos"
    evaluated = evaluate_detections(
        annotated.truth,
        results,
        annotated.durations,
        classes,
        args.tious,
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


def _read(args: GivenResults, annotated: tuple[str, ...], class_list: ClassList | None) -> Results:
    """Reads the results file, or the files of verbs and of nouns, whose pairs are measured as actions."""
    if args.nouns is None:
        return read_results(args.results, annotated, class_list, args.task)
    paths = args.results, args.nouns
    verbs, nouns = (read_rows(path, task) for path, task in zip(paths, TASKS[:2], strict=True))
    return with_class_names(combine(verbs, nouns, annotated, paths), annotated, class_list, args.results)


def _files(folder: Path, videos: Sequence[str]) -> dict[str, Path]:
    """Finds the video files that exist, whether or not their names begin with "v_"."""
    files, missing = find_files(folder, videos)
    return files | find_files(folder, list(missing), VIDEO_PREFIX)[0]
