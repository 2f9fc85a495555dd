"""Evaluation of parameters on a test subset: windows, detections, mAP, files and table."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from adatad_jax.config import make_post_processing
from adatad_jax.data.dataset import SlidingWindows
from adatad_jax.data.loader import load_ahead
from adatad_jax.evaluation.detections import Detections, results_to_json
from adatad_jax.evaluation.ground_truth import counted, ground_truth_from_json
from adatad_jax.evaluation.mean_ap import Metrics, evaluate
from adatad_jax.files import write_text
from adatad_jax.inference import Predictor, detect_windows

RESULTS_FILE = "results.json"
METRICS_FILE = "metrics.json"


def detect_subset(
    config: ConfigDict, windows: SlidingWindows, predictor: Predictor, console: Console
) -> dict[str, Detections]:
    """Detections of every video of the subset, behind a progress bar."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("windows"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    samples = load_ahead(range(len(windows)), windows.load, config.data.threads, ahead=max(2, 2 * predictor.batch_size))
    pairs = ((windows.windows[index], sample) for index, sample in samples)
    results = {}
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("detecting", total=len(windows))
        for video, detections, count in detect_windows(
            predictor, pairs, windows.videos, config.data.stride, make_post_processing(config)
        ):
            results[video] = detections
            progress.advance(task, count)
    return results


class Truth(NamedTuple):
    """What a test subset is measured against: segments in seconds and labels by video, and the class names."""

    videos: dict[str, tuple[np.ndarray, np.ndarray]]
    classes: tuple[str, ...]

    def measure(self, results: dict[str, Detections], tious: Sequence[float]) -> Metrics:
        """mAP of detections; raises `UserError` where they and the ground truth do not meet."""
        return evaluate(self.videos, results, tious, self.classes)


def load_truth(config: ConfigDict, classes: tuple[str, ...]) -> Truth:
    """The ground truth of the config's test subset.

    Every label of the subset counts as a class, ignored ones too if they are there (release rule).

    Raises:
      UserError: there is no segment to measure against.
    """
    path = Path(config.data.annotations)
    data = json.loads(path.read_text(encoding="utf-8-sig"))
    truth = Truth(*ground_truth_from_json(data, config.data.test_subset, classes, source=str(path)))
    counted(truth.videos, {}, truth.classes)  # refuses a subset without segments, before anything is computed
    return truth


def metrics_to_json(metrics: Metrics) -> dict[str, Any]:
    """mAP per tIoU and on average, as fractions, and average precision by class."""
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


def write_results(
    folder: Path, results: dict[str, Detections], classes: tuple[str, ...], metrics: dict[str, Any]
) -> None:
    """Writes `results.json` (ActivityNet format) and `metrics.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / RESULTS_FILE, json.dumps(results_to_json(results, classes)) + "\n")
    write_text(folder / METRICS_FILE, json.dumps(metrics, indent=1) + "\n")


def print_metrics(metrics: Metrics, title: str, console: Console) -> None:
    """A table of average precision by class and tIoU, in percent."""
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
    if metrics.unknown_label or metrics.unknown_video:
        console.print(
            f"{metrics.unknown_label} detections of labels without ground truth were ignored; "
            f"{metrics.unknown_video} in videos without ground truth counted as false positives"
        )
