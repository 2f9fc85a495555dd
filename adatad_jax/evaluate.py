"""Evaluates a trained detector: `python -m adatad_jax.evaluate --config configs/thumos_s.py [--workdir DIR]`."""

from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict
from rich.console import Console

from adatad_jax import cli
from adatad_jax.config import make_model
from adatad_jax.data.dataset import SlidingWindows, check_files, load_subset
from adatad_jax.evaluation.mean_ap import Metrics
from adatad_jax.evaluation.run import detect_subset, load_truth, metrics_to_json, print_metrics, write_results
from adatad_jax.inference import Predictor
from adatad_jax.train import check_paths
from adatad_jax.training import checkpoints


def main(arguments: Sequence[str]) -> None:
    """Parses the command line and evaluates."""
    parser = cli.config_parser("Evaluate the latest checkpoint of a run on the config's test subset.")
    args, config = cli.parse(parser, arguments)
    evaluate(config, args.workdir, cli.make_console())


def evaluate(config: ConfigDict, workdir: Path, console: Console) -> Metrics:
    """Detects in the test videos, writes `results.json` and `metrics.json` into the folder, prints a table.

    Raises:
      UserError: data, run or checkpoint is missing or does not fit; nothing has been written then.
    """
    cli.set_precision(config.model.dtype)
    check_paths(config, weights=False)
    checkpoints.check_config(workdir, config)
    _, classes = checkpoints.read_config(workdir)
    test_set = load_subset(config, config.data.test_subset, classes, training=False)
    check_files(test_set, config.data.threads)
    truth = load_truth(config, classes)
    params, epoch = checkpoints.restore_averaged(workdir)
    predictor = Predictor(make_model(config, len(classes)), params, config.test.batch_size)
    results = detect_subset(config, SlidingWindows(test_set, config), predictor, console)
    metrics = truth.measure(results, config.test.tious)
    print_metrics(metrics, f"{config.data.test_subset}: {len(results)} videos, epoch {epoch}", console)
    write_results(workdir, results, classes, {"epoch": epoch, **metrics_to_json(metrics)})
    console.print(f"wrote results.json and metrics.json into {workdir}")
    return metrics


def entry() -> None:
    """Console script."""
    cli.run(main)


if __name__ == "__main__":
    entry()
