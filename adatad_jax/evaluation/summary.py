"""Output of an evaluation: terminal tables of mAP and recall, and the files of figures and detections."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from adatad_jax.errors import UserError
from adatad_jax.evaluation.mean_ap import Metrics
from adatad_jax.evaluation.recall import PROPOSAL_TIOUS
from adatad_jax.evaluation.results_file import results_to_json
from adatad_jax.files import write_text
from adatad_jax.postprocessing.detections import Detections

RESULTS_FILE = "results.json"
METRICS_FILE = "metrics.json"


def metrics_to_json(metrics: Metrics) -> dict[str, Any]:
    """Returns the figures by name: mAP per tIoU and on average, average precision per class (fractions), and counts."""
    by_tiou = {f"mAP@{tiou:g}": float(value) for tiou, value in zip(metrics.tious, metrics.map, strict=True)}
    return {
        "average_mAP": metrics.average_map,
        **by_tiou,
        "segments": metrics.segments,
        "detections": metrics.detections,
        "per_class": {
            name: {f"AP@{tiou:g}": float(value) for tiou, value in zip(metrics.tious, row, strict=True)}
            for name, row in zip(metrics.classes, metrics.per_class, strict=True)
        },
    }


def write_results(folder: Path, results: Mapping[str, Detections], classes: Sequence[str]) -> None:
    """Writes `results.json` (ActivityNet format) into a folder, which is created if needed.

    Args:
      folder: where to write it.
      results: detections of each video.
      classes: class names, indexed by the labels.

    Raises:
      UserError: the folder cannot be created or the file cannot be written.
    """
    _write(folder / RESULTS_FILE, json.dumps(results_to_json(results, classes)) + "\n")


def write_metrics(folder: Path, figures: Mapping[str, Any]) -> None:
    """Writes `metrics.json` into a folder, which is created if needed.

    Args:
      folder: where to write it.
      figures: its content; all numbers finite.

    Raises:
      UserError: the folder cannot be created or the file cannot be written.
      ValueError: a number is NaN or infinite.
    """
    _write(folder / METRICS_FILE, json.dumps(figures, indent=1, allow_nan=False) + "\n")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path.parent}: cannot be created ({error.strerror}); choose another folder") from error
    write_text(path, text)


def print_metrics(metrics: Metrics, title: str, console: Console) -> None:
    """Prints a table of average precision by class and tIoU, in percent."""
    table = Table(title=title)
    table.add_column("class")
    for tiou in metrics.tious:
        table.add_column(f"{tiou:g}", justify="right")
    table.add_column("average", justify="right")
    for name, row in zip(metrics.classes, metrics.per_class, strict=True):
        table.add_row(name, *(f"{100 * value:.2f}" for value in row), f"{100 * row.mean():.2f}")
    table.add_section()
    table.add_row("mAP", *(f"{100 * value:.2f}" for value in metrics.map), f"{100 * metrics.average_map:.2f}")
    console.print(table)


def print_recall(figures: Mapping[str, float], console: Console) -> None:
    """Prints a table of the figures from `recall_figures`, in percent."""
    first, second, *_, last = PROPOSAL_TIOUS
    table = Table(
        title=f"recall (AR@AN and its AUC: mean over tIoU {first:g}:{second - first:g}:{last:g}, classes ignored)"
    )
    for name in figures:
        table.add_column(name, justify="right")
    table.add_row(*(f"{100 * value:.2f}" for value in figures.values()))
    console.print(table)
