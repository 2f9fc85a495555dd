"""The demo `python -m adatad_jax.demo.run`: makes videos, trains, evaluates and detects."""

import argparse
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from adatad_jax import cli
from adatad_jax.config.build import make_model
from adatad_jax.config.fields import Config
from adatad_jax.config.load import load_config
from adatad_jax.console import make_console
from adatad_jax.data.subset import load_classes, load_subset
from adatad_jax.demo.dataset import generate
from adatad_jax.demo.packaged import PACKAGED
from adatad_jax.devices.compilation import keep_compiled
from adatad_jax.devices.launch import require_one_process
from adatad_jax.errors import UserError
from adatad_jax.evaluation.mean_ap import Metrics
from adatad_jax.evaluation.summary import METRICS_FILE, RESULTS_FILE
from adatad_jax.files import check_output_folder, write_text
from adatad_jax.inference.detector import load
from adatad_jax.inference.predictor import Predictor
from adatad_jax.inference.test_set import load_evaluation
from adatad_jax.outputs.targets import plan
from adatad_jax.pipelines.detect_in_files import DetectionOptions, detect_files
from adatad_jax.pipelines.evaluate_detector import evaluate
from adatad_jax.pipelines.train_detector import train
from adatad_jax.report.page import REPORT_FILE
from adatad_jax.weights.convert_file import convert_file
from adatad_jax.weights.initialize import initialize
from adatad_jax.weights.run_folder import check_unlocked

CONFIG = Path("configs/demo.py")
MARKER = ".adatad-demo"  # only a folder with this file may be cleared


def main(arguments: Sequence[str]) -> None:
    """Parses the command line and runs the demo.

    Args:
      arguments: the command line without the program's name.

    Raises:
      UserError: the folder holds something else, or detecting in the sample video failed.
    """
    require_one_process("demo")
    parser = argparse.ArgumentParser(description="Train, evaluate and detect on generated videos, in minutes.")
    parser.add_argument("--workdir", type=Path, default=Path("runs/demo"), help="folder for everything the demo writes")
    parser.add_argument("--seed", type=int, default=0, help="seed of the data and the training")
    parser.add_argument("--train-videos", type=int, default=320, help="videos to generate for training")
    parser.add_argument("--test-videos", type=int, default=40, help="videos to generate for the test")
    parser.add_argument("--epochs", type=int, help="number of epochs, instead of the configuration's")
    parser.add_argument("--resume", action="store_true", help="continue instead of starting afresh")
    parser.add_argument("--controls", action="store_true", help="also train without adapters, and with shuffled frames")
    args = parser.parse_args(arguments)
    started = time.perf_counter()
    console = make_console()
    if min(args.train_videos, args.test_videos) < 1:
        parser.error("--train-videos and --test-videos: expected at least 1")
    config = demo_config(args.workdir, args.seed, args.epochs)  # checked before an earlier demo is cleared
    keep_compiled(config.compilation_cache)
    prepare_folder(args.workdir, args.resume)
    make_data(args.workdir, args.seed, args.train_videos, args.test_videos, console)
    train(config, args.workdir, console)
    metrics = evaluate(config, args.workdir, console)
    test_set = load_subset(config, config.data.test_subset, load_classes(config), training=False)
    name, video = next(iter(test_set.videos.items()))
    spans = [(*segment, label) for segment, label in zip(video.segments.tolist(), video.labels, strict=True)]
    pictures = args.workdir / "detections"
    jobs = plan([test_set.files[name]], pictures)
    failures = detect_files(load(args.workdir), jobs, DetectionOptions(), console, truth={name: spans})
    if failures:
        raise UserError(failures[0])
    path = args.workdir / METRICS_FILE
    content = json.loads(path.read_text())
    content |= {"wall_seconds": round(time.perf_counter() - started, 1), "seed": args.seed}
    write_text(path, json.dumps(content, indent=1) + "\n")
    if args.controls:
        print_controls(metrics, run_controls(config, args.workdir, console), console)
    for what, where in {
        "mAP by class and tIoU": path,
        "what it means, in a browser": args.workdir / REPORT_FILE,
        "detections of the test videos": args.workdir / RESULTS_FILE,
        "picture of one video": pictures / f"{name}.png",
        "checkpoints": args.workdir / "checkpoints",
    }.items():
        console.print(f"{what:30s} {where}")
    console.print(
        f"mAP@0.5 {100 * content['mAP@0.5']:.2f}, average mAP {100 * content['average_mAP']:.2f} "
        f"in {content['wall_seconds']:.0f} s, seed {args.seed}"
    )


def prepare_folder(workdir: Path, resume: bool) -> None:
    """Makes the folder, and clears what an earlier demo left in it unless that is to be continued.

    Args:
      workdir: folder of the demo.
      resume: whether to continue an earlier demo.

    Raises:
      UserError: the folder is not a demo's, or a demo trains in it.
    """
    check_output_folder(workdir, checkpoints=True)
    if workdir.exists() and any(workdir.iterdir()) and not (workdir / MARKER).exists():
        raise UserError(f"{workdir}: exists and is not a demo's folder; remove it or give another --workdir")
    check_unlocked(workdir)
    if not resume:
        shutil.rmtree(workdir, ignore_errors=True)
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / MARKER).touch()


def make_data(workdir: Path, seed: int, train_videos: int, test_videos: int, console: Console) -> None:
    """Makes videos and annotations, and converts the packaged `.pth` (`demo.backbone`), where missing."""
    if not (workdir / "data/annotations.json").exists():
        generate(workdir / "data", seed=seed, train_videos=train_videos, test_videos=test_videos)
    weights = workdir / "weights"
    if not weights.exists():
        console.print(convert_file(PACKAGED, weights))


def demo_config(workdir: Path, seed: int, epochs: int | None) -> Config:
    """Loads `configs/demo.py` for the data in this folder, with another number of epochs if given."""
    overrides = {
        "seed": seed,
        "weights": workdir / "weights",
        "data.videos": workdir / "data/videos",
        "data.annotations": workdir / "data/annotations.json",
        "data.classes": workdir / "data/classes.txt",
    }
    if epochs is not None:
        overrides |= {"train.epochs": epochs, "train.schedule_epochs": epochs, "train.warmup_epochs": 1}
    return load_config(CONFIG, [f"--config.{field}={value}" for field, value in overrides.items()])


def run_controls(config: Config, workdir: Path, console: Console) -> dict[str, Metrics]:
    """Measures the controls: the untrained model, and the same budget without adapters and with shuffled frames.

    The frames are shuffled inside every group of 16.

    Args:
      config: the demo's configuration.
      workdir: folder of the demo; the controls train in its folders `tia_off` and `shuffled`.
      console: where progress is shown.

    Returns:
      Name of the control -> its metrics.
    """
    classes = load_classes(config)
    evaluation = load_evaluation(config, classes)
    model = make_model(config, len(classes))
    untrained = Predictor(model, initialize(model, config, classes).params, config.test.batch_size)
    found = {"before training": evaluation.measure(evaluation.detect(untrained, console))}
    for name, folder, changes in (
        ("TIA off (head alone)", "tia_off", {"model.adaptation": "frozen"}),
        ("order control (shuffled in every 16)", "shuffled", {"data.shuffle_within": 16}),
    ):
        control = config.with_fields(changes)
        console.rule(name)
        shutil.rmtree(workdir / folder, ignore_errors=True)
        train(control, workdir / folder, console)
        found[name] = evaluate(control, workdir / folder, console)
    return found


def print_controls(result: Metrics, controls: dict[str, Metrics], console: Console) -> None:
    """Prints a table of the result beside its controls, mAP in percent."""
    table = Table(title="the demo and its controls, same budget")
    table.add_column("run")
    for column in ("mAP@0.5", "mAP@0.7", "average"):
        table.add_column(column, justify="right")
    for name, metrics in {"demo": result, **controls}.items():
        at = dict(zip(metrics.tious, metrics.map, strict=True))
        table.add_row(name, f"{100 * at[0.5]:.2f}", f"{100 * at[0.7]:.2f}", f"{100 * metrics.average_map:.2f}")
    console.print(table)


def entry() -> None:
    """Runs the command as a console script."""
    cli.run(main)


if __name__ == "__main__":
    entry()
