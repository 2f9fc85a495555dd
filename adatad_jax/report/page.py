"""The report of an evaluation: one HTML page that holds everything it shows and loads nothing."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from adatad_jax.analysis.analyse import analysis_to_json
from adatad_jax.analysis.false_positives import KINDS
from adatad_jax.evaluation.ground_truth import counted
from adatad_jax.evaluation.summary import metrics_to_json, write_metrics
from adatad_jax.files import write_text
from adatad_jax.outputs.timeline import clock
from adatad_jax.postprocessing.detections import Detections
from adatad_jax.report import figures
from adatad_jax.report.charts import precision_recall
from adatad_jax.report.evaluated import Evaluated
from adatad_jax.report.findings import findings, percent
from adatad_jax.report.timelines import RULE, Timeline, best_and_worst, lay_out, thumbnail_strip
from adatad_jax.report.training import training_curves

Array = np.ndarray

AP_BINS = 10


def write_report(path: Path, evaluated: Evaluated, time_limit: float = 60.0, run: Path | None = None) -> None:
    """Writes the page, which opens from disk in any browser, without a network.

    Args:
      path: the file, usually `report.html`.
      evaluated: what the page shows.
      time_limit: seconds that opening a video, or reading a frame of it, may take. A video that fails has no
        thumbnails, and the page says why.
      run: folder of the run that trained the detector, whose curves are shown.

    Raises:
      UserError: the file cannot be written.
    """
    training = training_curves(run) if run is not None else None
    loader = PackageLoader("adatad_jax", "report")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(percent=percent, clock=clock)
    style, script = (loader.get_source(environment, name)[0] for name in ("page.css", "page.js"))
    # The page may run this one script and load nothing. Names in it are escaped, and could do no harm if they were not.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page: str = environment.get_template("page.html.jinja").render(
        evaluated=evaluated,
        style=style,
        script=script,
        digest=digest,
        training=training,
        **_shown(evaluated, time_limit),
    )
    write_text(path, page.encode(errors="replace").decode())  # half a surrogate pair, which JSON may hold, becomes "?"


def _shown(evaluated: Evaluated, time_limit: float) -> dict[str, Any]:
    metrics, analysis = evaluated.metrics, evaluated.analysis
    truth = counted(evaluated.truth, {}, evaluated.classes).videos
    segments = {video: len(truth[video][1]) for video in analysis.video_ap}
    undetected = [video for video in segments if not len(evaluated.results.get(video, ()))]
    best, worst = (
        [_timeline(evaluated, video, truth[video], time_limit) for video in videos]
        for videos in best_and_worst(analysis.video_ap, segments)
    )
    drawn = [timeline.video for timeline in (*best, *worst)]
    return {
        "findings": findings(metrics, analysis, [segments[video] for video in undetected]),
        "curves": precision_recall(analysis.curves, figures.ap_at(metrics, analysis.tiou), analysis.classes),
        "class_rows": figures.class_rows(metrics, analysis),
        "matrix": analysis.confusion.tolist() if len(analysis.classes) <= figures.MATRIX_CLASSES else None,
        "confused": figures.confused_pairs(analysis),
        "missed": figures.missed_classes(analysis),
        "pairs_shown": figures.PAIRS_SHOWN,
        "kinds": figures.kinds(analysis.false_positives),
        "kind_names": ("true positive", *KINDS),
        "ranks": analysis.false_positives.by_rank.tolist(),
        "sensitivities": [(s.quantity, figures.buckets(s)) for s in analysis.sensitivities],
        "ap_bins": np.histogram(list(analysis.video_ap.values()), AP_BINS, (0, 1))[0].tolist(),
        "undetected": len(undetected),
        "best": best,
        "worst": worst,
        "without_file": sum(video not in evaluated.files for video in drawn),
        "rule": RULE,
    }


def _timeline(evaluated: Evaluated, video: str, truth: tuple[Array, Array], time_limit: float) -> Timeline:
    file = evaluated.files.get(video)
    return lay_out(
        video,
        evaluated.analysis.video_ap[video],
        evaluated.durations.get(video, 0.0),
        truth,
        evaluated.results.get(video, Detections(np.empty((0, 2)), np.empty(0), np.empty(0, np.int64))),
        evaluated.classes,
        evaluated.analysis.tiou,
        *(thumbnail_strip(file, time_limit) if file is not None else ([], "")),
    )


REPORT_FILE = "report.html"


def write_evaluated(
    folder: Path, evaluated: Evaluated, about: Mapping[str, str], time_limit: float = 60.0, run: Path | None = None
) -> None:
    """Writes `metrics.json` (as fractions, `about` first) and `report.html` into a folder.

    Args:
      folder: where to write them; created if needed.
      evaluated: what to write.
      about: what was evaluated, such as file names.
      time_limit, run: see `write_report`.

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
    write_report(folder / REPORT_FILE, evaluated, time_limit, run)
