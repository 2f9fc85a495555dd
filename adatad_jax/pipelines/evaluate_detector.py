"""Evaluation of a trained detector on its configuration's test subset."""

import functools
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from adatad_jax.config.fields import Config
from adatad_jax.data.paths import check_paths
from adatad_jax.evaluation.mean_ap import Metrics
from adatad_jax.evaluation.summary import METRICS_FILE, RESULTS_FILE, write_results
from adatad_jax.files import check_output_folder
from adatad_jax.inference.fitting import fitted_predictor
from adatad_jax.inference.test_set import load_evaluation
from adatad_jax.report.evaluated import evaluate_detections, print_evaluated
from adatad_jax.report.page import REPORT_FILE, write_evaluated
from adatad_jax.training.retention import LATEST, Choice
from adatad_jax.video.names import find_files
from adatad_jax.weights.load import load_trained


def evaluate(
    config: Config | None,
    workdir: Path,
    console: Console,
    checkpoint: Path | None = None,
    overrides: Sequence[str] = (),
    step: Choice = LATEST,
) -> Metrics:
    """Detects in the test videos, writes `results.json`, `metrics.json` and `report.html`, and prints tables.

    Args:
      config: to evaluate with; None takes the checkpoint's.
      workdir: folder to write into.
      console: where to report.
      checkpoint: what to evaluate, as for `load_trained`; None evaluates the run in `workdir`.
      overrides: `--config.FIELD=VALUE`, as for `load_trained`.
      step: which checkpoint of a run, as for `load_trained`.

    Returns:
      The mAP metrics of the detections.

    Raises:
      UserError: data, run or checkpoint is missing or does not fit. Nothing is written then.
    """
    if config is not None:
        check_paths(config, weights=False)
    check_output_folder(workdir)
    config, classes, params, name, origin = load_trained(checkpoint or workdir, config, overrides, step)
    check_paths(config, weights=False)
    console.print(origin)
    evaluation = load_evaluation(config, classes)
    say = functools.partial(console.print, highlight=False)
    predictor = fitted_predictor(config, params, len(classes), config.test.batch_size, say)
    results = evaluation.detect(predictor, console)
    # Written at once, because the detections took the longest: a later error must not lose them.
    write_results(workdir, results, evaluation.classes)
    folder = Path(config.data.videos)
    evaluated = evaluate_detections(
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
        write_evaluated(workdir, evaluated, {"checkpoint": origin}, config.data.time_limit, checkpoint or workdir)
    finally:  # an error of one must not lose the other: the disk may be full, or the pipe closed
        print_evaluated(evaluated, f"{config.data.test_subset}: {len(results)} videos, {name}", console)
    console.print(f"wrote {RESULTS_FILE}, {METRICS_FILE} and {REPORT_FILE} into {workdir}")
    return evaluated.metrics
