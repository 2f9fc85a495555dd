"""Evaluation of detections, of this project or any other tool, with everything that is reported about them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from adatad_jax.analysis.analyse import Analysis, analyse, print_analysis
from adatad_jax.evaluation.ground_truth import GroundTruth
from adatad_jax.evaluation.mean_ap import Metrics, mean_average_precision
from adatad_jax.evaluation.oddities import oddities
from adatad_jax.evaluation.recall import recall_figures
from adatad_jax.evaluation.summary import print_metrics, print_recall
from adatad_jax.postprocessing.detections import Detections


@dataclass(frozen=True)
class Evaluated:
    """An evaluation, with everything that its report shows.

    Attributes:
      title: what was evaluated, such as a recipe's name.
      origin: checkpoint or results file, in words.
      subset: name of the subset of the annotations.
      metrics: mean average precision.
      recall: recall figures by name, fractions, in the order shown.
      published: average mAP published for the recipe, in percent, if any.
      truth: segments in seconds and labels of each video.
      results: detections of each video.
      classes: class names, indexed by the labels of both `truth` and `results`.
      durations: duration in seconds of each video; some may be missing.
      analysis: error analysis of the same detections.
      files: file of each video, for thumbnails; some or all may be missing.
      notes: what was ignored, or counted in a special way.
    """

    title: str
    origin: str
    subset: str
    metrics: Metrics
    recall: Mapping[str, float]
    published: float | None
    truth: GroundTruth
    results: Mapping[str, Detections]
    classes: tuple[str, ...]
    durations: Mapping[str, float]
    analysis: Analysis
    files: Mapping[str, Path]
    notes: tuple[str, ...]


def evaluate_detections(
    truth: GroundTruth,
    results: Mapping[str, Detections],
    durations: Mapping[str, float],
    classes: tuple[str, ...],
    tious: Sequence[float],
    *,
    title: str,
    origin: str,
    subset: str,
    published: float | None = None,
    files: Mapping[str, Path],
    notes: Sequence[str] = (),
) -> Evaluated:
    """Evaluates detections: mAP, recall, error analysis, and notes on what is odd about them.

    Args:
      truth: segments in seconds and labels of each video.
      results: detections of each video.
      durations: duration in seconds of each annotated video, also of those without a segment; NaN where unknown.
      classes: class names, indexed by the labels of both `truth` and `results`.
      tious: thresholds of mAP.
      title: what is evaluated, such as the name of a run or file.
      origin: where the detections come from, in words.
      subset: name of the subset.
      published: average mAP published for the same, in percent.
      files: file of each video, as far as they exist.
      notes: what is already known to be odd.

    Raises:
      UserError: as `mean_average_precision`.
    """
    return Evaluated(
        title=title,
        origin=origin,
        subset=subset,
        metrics=mean_average_precision(truth, results, tious, classes),
        recall=recall_figures(truth, results, classes),
        published=published,
        truth=truth,
        results=results,
        classes=classes,
        durations={video: seconds for video, seconds in durations.items() if np.isfinite(seconds)},
        analysis=analyse(truth, results, durations, tious, classes),
        files=files,
        notes=(*notes, *oddities(truth, results, durations, classes)),
    )


def print_evaluated(evaluated: Evaluated, heading: str, console: Console) -> None:
    """Prints tables of mAP, recall and errors, in percent, then the notes."""
    print_metrics(evaluated.metrics, heading, console)
    if evaluated.published:
        average = 100 * evaluated.metrics.average_map
        console.print(f"average mAP {average:.2f}; published for this recipe: {evaluated.published:.2f}")
    print_recall(evaluated.recall, console)
    print_analysis(evaluated.analysis, console)
    for note in evaluated.notes:
        console.print(f"note: {note}", style="yellow")
