"""Evaluates a trained detector: `python -m adatad_jax.evaluate --config configs/thumos_s.py [--workdir DIR]`.

With `--checkpoint FILE_OR_FOLDER` it is one of the PyTorch release, or one that convert/pth_to_flax.py converted.
"""

from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict
from rich.console import Console

from adatad_jax import cli
from adatad_jax.config import make_model
from adatad_jax.evaluation.mean_ap import Metrics
from adatad_jax.evaluation.run import load_evaluation, metrics_to_json, print_metrics, write_results
from adatad_jax.files import check_output_folder
from adatad_jax.inference import Predictor
from adatad_jax.train import check_paths
from adatad_jax.trained import load_trained


def main(arguments: Sequence[str]) -> None:
    """Parses the command line and evaluates."""
    parser = cli.config_parser("Evaluate a trained detector on the config's test subset.", required=False)
    parser.add_argument(
        "--checkpoint",
        type=Path,
        help="a detector checkpoint of the PyTorch release, or a folder of convert/pth_to_flax.py, in place of the "
        "run's latest; results go to --workdir (default then: runs/NAME_OF_CHECKPOINT); --config may be left out "
        "where the checkpoint tells which it is",
    )
    args, overrides = cli.parse_overrides(parser, arguments)
    if args.config is None and args.checkpoint is None:
        parser.error("one of --config and --checkpoint is needed")
    config = cli.load_config(args.config, overrides) if args.config else None
    # A folder's name may hold a dot.
    checkpoint = args.checkpoint.resolve() if args.checkpoint else args.config
    workdir = args.workdir or Path("runs") / (checkpoint.name if checkpoint.is_dir() else checkpoint.stem)
    evaluate(config, workdir, cli.make_console(), args.checkpoint, overrides)


def evaluate(
    config: ConfigDict | None,
    workdir: Path,
    console: Console,
    checkpoint: Path | None = None,
    overrides: Sequence[str] = (),
) -> Metrics:
    """Detects in the test videos, writes `results.json` and `metrics.json` into the folder, prints a table.

    Args:
      config: to evaluate with; None takes that of the checkpoint.
      workdir: folder to write into.
      console: where to report.
      checkpoint: what to evaluate, as `load_trained` takes it; None evaluates the run in `workdir`.
      overrides: `--config.FIELD=VALUE`, as `load_trained` takes them.

    Raises:
      UserError: data, run or checkpoint is missing or does not fit; nothing has been written then.
    """
    if config is not None:
        check_paths(config, weights=False)
    check_output_folder(workdir)
    config, classes, params, name, origin = load_trained(checkpoint or workdir, config, overrides)
    check_paths(config, weights=False)
    cli.set_precision(config.model.dtype)
    console.print(origin)
    evaluation = load_evaluation(config, classes)
    predictor = Predictor(make_model(config, len(classes)), params, config.test.batch_size)
    results = evaluation.detect(predictor, console)
    metrics = evaluation.measure(results)
    print_metrics(metrics, f"{config.data.test_subset}: {len(results)} videos, {name}", console)
    if config.published:
        console.print(f"average mAP {100 * metrics.average_map:.2f}; published for this recipe: {config.published:.2f}")
    write_results(workdir, results, evaluation.classes, {"checkpoint": origin, **metrics_to_json(metrics)})
    console.print(f"wrote results.json and metrics.json into {workdir}")
    return metrics


def entry() -> None:
    """Console script."""
    cli.run(main)


if __name__ == "__main__":
    entry()
