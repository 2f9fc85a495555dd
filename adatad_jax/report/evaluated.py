"""From ground truth and detections, of this project or any other tool, to all that is told about them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from adatad_jax.analysis.analyse import analyse, analysis_to_json, print_analysis
from adatad_jax.evaluation.ground_truth import GroundTruth
from adatad_jax.evaluation.mean_ap import evaluate
from adatad_jax.evaluation.oddities import notes_on
from adatad_jax.evaluation.recall import recall_figures
from adatad_jax.evaluation.summary import metrics_to_json, print_metrics, print_recall, write_metrics
from adatad_jax.postprocessing.detections import Detections
from adatad_jax.report.page import Evaluated, write_report

REPORT_FILE = "report.html"


def assess(
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
      UserError: as `mean_ap.evaluate`.
    """
    return Evaluated(
        title=title,
        origin=origin,
        subset=subset,
        metrics=evaluate(truth, results, tious, classes),
        recall=recall_figures(truth, results, classes),
        published=published,
        truth=truth,
        results=results,
        classes=classes,
        durations={video: seconds for video, seconds in durations.items() if np.isfinite(seconds)},
        analysis=analyse(truth, results, durations, tious, classes),
        files=files,
        notes=(*notes, *notes_on(truth, results, durations, classes)),
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


def write_evaluated(folder: Path, evaluated: Evaluated, about: Mapping[str, str], time_limit: float = 60.0) -> None:
    """Writes `metrics.json` (fractions; `about` comes first in it) and `report.html` into a folder.

    Args:
      folder: may not be there yet.
      evaluated: what to write.
      about: what was measured, such as file names.
      time_limit: see `write_report`.

    Raises:
      UserError: they cannot be written.
    """
    figures = {
        **about,
        **metrics_to_json(evaluated.metrics),
        "recall": dict(evaluated.recall),
        "notes": list(evaluated.notes),
        "analysis": analysis_to_json(evaluated.analysis),
    }
    write_metrics(folder, figures)
    write_report(folder / REPORT_FILE, evaluated, time_limit)
