"""Trains a detector: `python -m adatad_jax.train --config configs/thumos_s.py`. `train` reads top to bottom."""

import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from adatad_jax import cli
from adatad_jax.config import make_loss, make_model, make_optimizer_config
from adatad_jax.data.dataset import SlidingWindows, TrainingWindows, check_files, load_classes, load_subset
from adatad_jax.data.loader import grouped, load_ahead, training_batch
from adatad_jax.errors import UserError
from adatad_jax.evaluation.run import Truth, detect_subset, load_truth
from adatad_jax.files import write_text
from adatad_jax.inference import Predictor
from adatad_jax.training import checkpoints
from adatad_jax.training.initialize import initialize
from adatad_jax.training.optimizer import OptimizerConfig, make_optimizer, parameter_groups
from adatad_jax.training.schedule import warmup_cosine
from adatad_jax.training.step import (
    Batch,
    Metrics,
    TrainState,
    create_state,
    make_train_step,
    pmap_step,
    replicate,
    shard_batch,
)

HISTORY_FILE = "history.jsonl"


def main(arguments: Sequence[str]) -> None:
    """Parses the command line and trains."""
    parser = cli.config_parser("Train AdaTAD; the same command on the same folder continues a run.")
    args, config = cli.parse(parser, arguments)
    train(config, args.workdir, cli.make_console())


def train(config: ConfigDict, workdir: Path, console: Console) -> TrainState:
    """Trains to the last epoch, from the folder's latest checkpoint if it has one; returns the state on the host.

    Raises:
      UserError: something that the configuration names is missing or wrong, and nothing has been written; or the loss
        is not finite any more, and the step is named.
    """
    cli.set_precision(config.model.dtype)

    # ---- Input: all of it is checked before anything is computed or written.
    check_paths(config)
    classes = load_classes(config)
    checkpoints.check_config(workdir, config, classes)
    train_set = load_subset(config, config.data.train_subset, classes, training=True)
    check_files(train_set, config.data.threads)
    windows = TrainingWindows(train_set, config)
    test_windows: SlidingWindows | None = None
    truth: Truth | None = None
    if config.train.eval_from:
        test_set = load_subset(config, config.data.test_subset, classes, training=False)
        check_files(test_set, config.data.threads)
        test_windows, truth = SlidingWindows(test_set, config), load_truth(config, classes)

    # ---- Model and optimiser.
    devices = usable_devices(config.train.batch_size)
    model = make_model(config, len(classes))
    params, account = initialize(model, config)
    steps_per_epoch = math.ceil(len(windows.order(0)) / config.train.batch_size)
    optimizer_config = make_optimizer_config(config, steps_per_epoch)
    optimizer = make_optimizer(optimizer_config, params)
    loss = make_loss(config)
    step = pmap_step(make_train_step(model, optimizer, loss, config.train.ema), devices)
    state = create_state(params, optimizer, loss, config.seed)
    console.print(f"{config.weights}\n{account}")
    console.print(
        f"{len(windows)} videos, {sum(len(labels) for _, labels in train_set.truth.values())} segments, "
        f"{len(classes)} classes; {steps_per_epoch} steps an epoch on {len(devices)} {devices[0].platform} device(s)"
    )
    console.print(groups_table(optimizer_config, params))

    # ---- Checkpoint.
    held = checkpoints.lock(workdir)
    checkpoints.write_config(workdir, config, classes)
    manager = checkpoints.open_manager(workdir, config.train.keep_checkpoints)
    first_epoch = manager.latest_step() or 0
    write_history(workdir, [record for record in read_history(workdir) if record["epoch"] <= first_epoch])
    if first_epoch:
        state = checkpoints.restore_state(manager, first_epoch, state)
        if state.step != first_epoch * steps_per_epoch:
            raise UserError(
                f"{workdir}: its {first_epoch} epochs took {state.step} steps, but an epoch now has {steps_per_epoch}: "
                "the training videos are not the same; give another --workdir"
            )
        console.print(f"continuing {workdir} after epoch {first_epoch} of {config.train.epochs}")
    state = replicate(state, devices)

    # ---- Loop.
    rates = warmup_cosine(
        config.train.tia_rate,
        optimizer_config.warmup_steps,
        optimizer_config.schedule_steps,
        optimizer_config.steps,
    )
    predictor = None
    with held, manager, progress_bar(console) as progress:
        task = progress.add_task(
            "training", total=len(rates), completed=first_epoch * steps_per_epoch, status="compiling the step"
        )
        for epoch in range(first_epoch, config.train.epochs):
            started = clock = time.perf_counter()
            pending: Metrics | None = None
            totals: list[Metrics] = []
            for number, batch in enumerate(epoch_batches(windows, config, epoch)):
                state, metrics = step(state, shard_batch(batch, len(devices)))
                if pending is not None:  # read one step late, so that the devices never wait for the host
                    totals.append(read_metrics(pending, epoch * steps_per_epoch + number - 1))
                    seconds, rate = time.perf_counter() - clock, rates[epoch * steps_per_epoch + number]
                    progress.update(task, advance=1, status=status(epoch + 1, totals[-1], rate, seconds))
                pending, clock = metrics, time.perf_counter()
            assert pending is not None
            totals.append(read_metrics(pending, (epoch + 1) * steps_per_epoch - 1))
            progress.update(task, advance=1)

            # -- End of an epoch: evaluate, log, keep.
            record: dict[str, Any] = {"epoch": epoch + 1, "step": (epoch + 1) * steps_per_epoch}
            record |= {name: float(np.mean([getattr(m, name) for m in totals])) for name in Metrics._fields}
            record["windows_without_segment"] = windows.take_unmatched()
            record["seconds"] = time.perf_counter() - started
            if record["windows_without_segment"] == len(windows.order(epoch)):
                raise UserError(
                    f"epoch {epoch + 1}: no window kept a segment, so there is nothing to learn: check the segments in "
                    f"{config.data.annotations}, config.data.trunc_thresh and config.data.window"
                )
            if test_windows is not None and truth is not None and due(epoch + 1, config.train.eval_from, config):
                averaged = jax.device_get(state).averaged_params()
                predictor = predictor or Predictor(model, averaged, config.test.batch_size)
                predictor.load(averaged)
                found = truth.measure(detect_subset(config, test_windows, predictor, console), config.test.tious)
                record["average_mAP"] = found.average_map
            log_epoch(workdir, record, console)
            last = epoch + 1 == config.train.epochs
            if last or (epoch + 1) % config.train.checkpoint_every == 0:
                checkpoints.save(manager, epoch + 1, state, {"classes": list(classes), **record})
        checkpoints.finish(manager)
    report_evaluations(workdir, console)
    console.print(f"trained for {config.train.epochs} epochs; checkpoints are in {manager.directory}")
    return jax.device_get(state)


def check_paths(config: ConfigDict, weights: bool = True) -> None:
    """Checks that all that the configuration names exists; the initial `weights` matter to training alone.

    Raises:
      UserError: one message with every missing path and where to get each.
    """
    data = config.data
    wanted = [("weights", config.weights, "VideoMAE weights", config.weights_from)] if weights else []
    wanted += [
        ("data.videos", data.videos, "folder of videos", data.come_from),
        ("data.annotations", data.annotations, "annotations", data.come_from),
    ]
    if data.classes:
        wanted.append(("data.classes", data.classes, "class list", data.come_from))
    missing = [
        f"{what}: --config.{field}={path or '(not set)'}" + (f"\n    get it from: {where}" if where else "")
        for field, path, what, where in wanted
        if not path or not Path(path).exists()
    ]
    if missing:
        raise UserError("not found:\n  " + "\n  ".join(missing))


def usable_devices(batch_size: int) -> list[jax.Device]:
    """As many local devices as share a batch evenly."""
    devices = jax.local_devices()
    count = max(n for n in range(1, len(devices) + 1) if batch_size % n == 0)
    return devices[:count]


def epoch_batches(windows: TrainingWindows, config: ConfigDict, epoch: int) -> Iterator[Batch]:
    """The batches of an epoch, decoded ahead; the last one may be filled up with windows of weight 0."""
    size = config.train.batch_size
    order = windows.order(epoch).tolist()
    samples = load_ahead(order, lambda index: windows.load(epoch, index), config.data.threads, ahead=2 * size)
    for group in grouped(order, size):
        yield training_batch([next(samples)[1] for _ in group], size, windows.segment_rows)


def read_metrics(metrics: Metrics, step: int) -> Metrics:
    """Metrics of a step as floats; a loss or gradient that is not finite ends the run before anything is saved."""
    values = jax.tree.map(lambda value: float(value[0]), metrics)
    if not math.isfinite(values.loss) or not math.isfinite(values.grad_norm):
        raise UserError(
            f"step {step}: loss {values.loss}, gradient norm {values.grad_norm}: not finite. The last checkpoint is "
            "whole; lower --config.train.tia_rate and head_rate, or set --config.model.dtype=float32, and start again"
        )
    return values


def status(epoch: int, metrics: Metrics, rate: float, seconds: float) -> str:
    parts = f"{metrics.classification:.2f}+{metrics.regression:.2f}"  # class + boundary
    return f"epoch {epoch} loss {metrics.loss:.2f} ({parts}) rate {rate:.0e} {seconds:.2f} s/step"


def due(epoch: int, first: int, config: ConfigDict) -> bool:
    """Whether to evaluate after this epoch."""
    last = epoch == config.train.epochs
    return epoch >= first and (last or (epoch - first) % config.train.eval_every == 0)


def read_history(workdir: Path) -> list[dict[str, Any]]:
    """The records of the epochs so far; a line that a killed run left unfinished is no record."""
    path = workdir / HISTORY_FILE
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def write_history(workdir: Path, records: Sequence[dict[str, Any]]) -> None:
    """Replaces the run's history."""
    write_text(workdir / HISTORY_FILE, "".join(json.dumps(record) + "\n" for record in records))


def log_epoch(workdir: Path, record: dict[str, Any], console: Console) -> None:
    """Adds the epoch to the run's history and prints a line."""
    write_history(workdir, [*read_history(workdir), record])
    score = f"  average mAP {100 * record['average_mAP']:.2f}" if "average_mAP" in record else ""
    if record["windows_without_segment"]:
        score += f"  ({record['windows_without_segment']} windows kept no segment)"
    console.print(
        f"epoch {record['epoch']:3d}  step {record['step']:6d}  loss {record['loss']:.4f}  "
        f"grad {record['grad_norm']:.3f}  {record['seconds']:.1f} s{score}"
    )


def report_evaluations(workdir: Path, console: Console) -> None:
    """Prints the last and the best epoch's mAP, if any epoch was evaluated; the best was chosen on the test subset."""
    scored = [record for record in read_history(workdir) if "average_mAP" in record]
    if scored:
        best = max(scored, key=lambda record: record["average_mAP"])
        console.print(
            f"average mAP {100 * scored[-1]['average_mAP']:.2f} after the last epoch evaluated "
            f"({scored[-1]['epoch']}); {100 * best['average_mAP']:.2f} after the best ({best['epoch']}, chosen on the "
            "test subset, as published results are)"
        )


def groups_table(config: OptimizerConfig, params: Any) -> Table:
    """The parameter groups as a table."""
    table = Table(title="parameters")
    for column in ("group", "tensors", "parameters", "rate", "decay"):
        table.add_column(column, justify="left" if column == "group" else "right")
    groups = parameter_groups(config, params)
    for group in groups:
        table.add_row(
            group.name, str(group.tensors), f"{group.parameters:,}", f"{group.rate:g}", f"{group.weight_decay:g}"
        )
    table.add_section()
    table.add_row("all", str(sum(g.tensors for g in groups)), f"{sum(g.parameters for g in groups):,}", "", "")
    return table


def progress_bar(console: Console) -> Progress:
    return Progress(
        BarColumn(bar_width=8),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}"),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=console,
    )


def entry() -> None:
    """Console script."""
    cli.run(main)


if __name__ == "__main__":
    entry()
