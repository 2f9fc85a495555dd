"""From ground truth and detections, of this project or any other tool, to all that is told about them."""

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
    """An evaluation, with all that its report tells of it.

    Attributes:
      title: what was evaluated, such as a recipe's name.
      origin: checkpoint or results file, in words.
      subset: of the annotations.
      metrics: mean average precision.
      recall: further figures by name, fractions, in the order shown.
      published: average mAP published for the recipe, percent, if any.
      truth: segments in seconds and labels by video.
      results: detections by video.
      classes: names that the labels of both index.
      durations: seconds by video; some may be missing.
      analysis: of the same detections.
      files: video files by video, for thumbnails; some or all may be missing.
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
    """Measures detections: mAP, recall, error analysis, and what is odd about them.

    Args:
      truth: segments in seconds and labels by video.
      results: detections by video.
      durations: seconds of the annotated videos, those without a segment too; NaN where unknown.
      classes: names that the labels of both sides index.
      tious: thresholds of mAP.
      title: what is measured, such as the name of a run or file.
      origin: where the detections come from, in words.
      subset: name of it.
      published: average mAP published for the same, percent.
      files: video files by name, as far as they are there.
      notes: what is known to be odd already.

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
    """Tables of mAP, recall and errors, in percent, then the notes."""
    print_metrics(evaluated.metrics, heading, console)
    if evaluated.published:
        average = 100 * evaluated.metrics.average_map
        console.print(f"average mAP {average:.2f}; published for this recipe: {evaluated.published:.2f}")
    print_recall(evaluated.recall, console)
    print_analysis(evaluated.analysis, console)
    for note in evaluated.notes:
        console.print(f"note: {note}", style="yellow")
