"""Training from a configuration to the last checkpoint; `train` reads top to bottom."""

import collections
import hashlib
import math
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from adatad_jax.config.build import make_loss, make_model
from adatad_jax.config.fields import Config
from adatad_jax.conversion.detector import check_parameters
from adatad_jax.conversion.torch_file import write_tensors
from adatad_jax.data.dataset import TrainingWindows
from adatad_jax.data.loader import Loaded, TrainingBatches, placed_ahead
from adatad_jax.data.paths import check_paths
from adatad_jax.data.propose import resolve
from adatad_jax.data.subset import load_classes, load_subset
from adatad_jax.data.usable_videos import usable
from adatad_jax.devices import replicate, set_precision, usable_devices
from adatad_jax.errors import UserError
from adatad_jax.inference.predictor import Predictor
from adatad_jax.inference.test_set import load_evaluation
from adatad_jax.training import checkpoints
from adatad_jax.training.detection_loss import make_detection_loss
from adatad_jax.training.history import Tally, log_epoch, read_history, report_evaluations, write_history
from adatad_jax.training.optimizer import make_optimizer, make_optimizer_config
from adatad_jax.training.parameters import Params, groups_table, merge, parameter_groups, split
from adatad_jax.training.schedule import warmup_cosine
from adatad_jax.training.state import TrainState, create_state
from adatad_jax.training.step import Metrics, make_train_step, map_step
from adatad_jax.weights.backbone_store import PASSENGERS_FILE
from adatad_jax.weights.frozen import read_frozen, write_frozen
from adatad_jax.weights.initialize import initialize, parameter_shapes
from adatad_jax.weights.run_folder import check_config, lock, write_config


def train(config: Config, workdir: Path, console: Console) -> TrainState:
    """Trains to the last epoch, from the folder's latest checkpoint if it has one; returns the state on the host.

    Raises:
      UserError: something that the configuration names is missing or wrong, and nothing has been written; or the loss
        is not finite any more, and the step is named.
    """
    set_precision(config.model.dtype)

    # ---- Input: all of it is checked before anything is computed or written.
    check_paths(config)
    config = resolve(config, console)
    classes = load_classes(config)
    check_config(workdir, config, classes)
    train_set = usable(load_subset(config, config.data.train_subset, classes, training=True), config)
    windows = TrainingWindows(train_set, config)
    batches = TrainingBatches(windows, config, jax.process_index(), jax.process_count())
    evaluation = load_evaluation(config, classes) if config.train.eval_from else None

    # ---- Model and optimiser.
    devices = usable_devices(config.train.batch_size)
    model = make_model(config, len(classes))
    steps_per_epoch = batches.steps_per_epoch
    names = hashlib.sha256("\n".join(train_set.videos).encode()).hexdigest()
    same_data = {"steps_per_epoch": steps_per_epoch, "videos": len(windows), "videos_sha256": names}
    optimizer_config = make_optimizer_config(config, steps_per_epoch)
    optimizer = make_optimizer(optimizer_config)
    loss = make_detection_loss(model, make_loss(config.train))
    step = map_step(make_train_step(loss, optimizer, config.train.ema), devices)
    console.print(
        f"{len(windows)} videos, {sum(len(labels) for _, labels in train_set.truth.values())} segments, "
        f"{len(classes)} classes; {steps_per_epoch} steps per epoch on {len(devices)} {devices[0].platform} device(s)"
    )

    # ---- Checkpoint.
    held = lock(workdir)
    write_config(workdir, config, classes)
    manager = checkpoints.open_manager(workdir, config.train.keep_checkpoints)
    first_step, tally = manager.latest_step() or 0, Tally()
    if first_step:
        saved = checkpoints.read(manager, first_step)
        if any(saved.metadata.get(key, value) != value for key, value in same_data.items()):
            raise UserError(
                f"{workdir}: the training videos are not the same: {saved.metadata.get('videos', 'others')} with "
                f"{saved.metadata['steps_per_epoch']} steps per epoch so far, now {len(windows)} with "
                f"{steps_per_epoch}; give it those again, or another --workdir"
            )
        frozen = read_frozen(workdir, saved)
        trained_shapes, _ = split(parameter_shapes(model, config), optimizer_config.full)
        fresh = jax.eval_shape(lambda: create_state(_zeros(trained_shapes), {}, optimizer, 0.0, config.seed))
        state = checkpoints.restore_state(saved, frozen, fresh, manager.directory / str(first_step))
        check_parameters(merge(state.trained, frozen), model, workdir)
        if saved.frozen is not None:
            write_frozen(workdir, frozen)
        tally = Tally(saved.metadata["tally"])
        console.print(f"continuing {workdir} after step {first_step} (epoch {first_step / steps_per_epoch:g})")
    else:
        initial = initialize(model, config)
        console.print(f"{config.weights}\n{initial.summary}")
        trained, frozen = split(initial.params, optimizer_config.full)
        state = create_state(trained, frozen, optimizer, config.train.normalizer_start, config.seed)
        write_frozen(workdir, frozen)
        if initial.unused:
            write_tensors(
                workdir / PASSENGERS_FILE, initial.unused
            )  # so that convert/flax_to_pth.py can give them back
    groups = parameter_groups(
        merge(state.trained, state.frozen), optimizer_config.rates, optimizer_config.weight_decay, optimizer_config.full
    )
    console.print(groups_table(groups))
    write_history(workdir, [record for record in read_history(workdir) if record["step"] <= first_step])
    state = replicate(state, devices)

    # ---- Loop.
    rates = warmup_cosine(
        config.train.tia_rate,
        optimizer_config.warmup_steps,
        optimizer_config.schedule_steps,
        optimizer_config.steps,
    )
    loaded_ahead = placed_ahead(batches.from_step(first_step, len(rates)), devices)
    predictor = None
    with held, manager, progress_bar(console) as progress:
        task = progress.add_task("training", total=len(rates), completed=first_step, status="compiling the step")
        clock = time.perf_counter()
        running: collections.deque[tuple[int, Loaded, Metrics]] = collections.deque()
        for number, loaded in enumerate(loaded_ahead, first_step):
            for problem in loaded.skipped:
                console.print(f"skipped: {problem}", style="red")
            state, metrics = step(state, loaded.batch)
            running.append((number, loaded, metrics))
            epoch, place = divmod(number + 1, steps_per_epoch)
            pauses = place == 0 or (config.train.checkpoint_steps and place % config.train.checkpoint_steps == 0)
            # A step's metrics are read after the next one has started, so that the devices never wait for the host.
            while len(running) > (0 if pauses else 1):
                done, its_load, its_metrics = running.popleft()
                values = read_metrics(its_metrics, done)
                seconds, clock = time.perf_counter() - clock, time.perf_counter()
                kept_none, skipped = its_load.unmatched, len(its_load.skipped)
                tally.add(values, seconds=seconds, windows_without_segment=kept_none, windows_skipped=skipped)
                text = status(done // steps_per_epoch + 1, values, rates[done], seconds)
                progress.update(task, advance=1, status=text)
            if not pauses:
                continue

            # -- In the middle of an epoch: keep what is needed to continue there.
            if place:
                metadata = {"epoch": epoch, **same_data, "tally": tally.saved()}
                checkpoints.save(manager, number + 1, state, metadata)
                continue

            # -- End of an epoch: evaluate, log, keep.
            record: dict[str, Any] = {"epoch": epoch, "step": number + 1, **tally.finish()}
            if record["windows_skipped"] * jax.process_count() >= len(windows.order(epoch - 1)):
                raise UserError(f"epoch {epoch}: no video could be read, see the messages above; is the disk there?")
            if record["windows_without_segment"] == len(windows.order(epoch - 1)):
                raise UserError(
                    f"epoch {epoch}: no window kept a segment, so there is nothing to learn: check the segments in "
                    f"{config.data.annotations}, config.data.trunc_thresh and config.data.window"
                )
            if evaluation is not None and due(epoch, config.train.eval_from, config):
                averaged = state.averaged()
                predictor = predictor or Predictor(model, averaged, config.test.batch_size)
                predictor.load(averaged)
                found = evaluation.measure(evaluation.detect(predictor, console))
                record["average_mAP"] = found.average_map
            log_epoch(workdir, record, console)
            if epoch == config.train.epochs or epoch % config.train.checkpoint_every == 0:
                metadata = {"epoch": epoch, **same_data, "tally": {}, **record}
                checkpoints.save(manager, number + 1, state, metadata)
            clock = time.perf_counter()
        checkpoints.finish(manager)
    report_evaluations(workdir, console)
    console.print(f"trained for {config.train.epochs} epochs; checkpoints are in {manager.directory}")
    return jax.device_get(state)


def read_metrics(metrics: Metrics, step: int) -> dict[str, float]:
    """Metrics of a step as floats; a loss or gradient that is not finite ends the run before anything is saved."""
    values = {name: float(value[0]) for name, value in metrics.items()}
    if not math.isfinite(values["loss"]) or not math.isfinite(values["grad_norm"]):
        raise UserError(
            f"step {step}: loss {values['loss']}, gradient norm {values['grad_norm']}: not finite. The last checkpoint is "
            "whole; lower --config.train.tia_rate and head_rate, or set --config.model.dtype=float32, and start again"
        )
    return values


def _zeros(shapes: Params) -> Params:
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def status(epoch: int, metrics: dict[str, float], rate: float, seconds: float) -> str:
    parts = f"{metrics['classification']:.2f}+{metrics['regression']:.2f}"  # class + boundary
    return f"epoch {epoch} loss {metrics['loss']:.2f} ({parts}) rate {rate:.0e} {seconds:.2f} s/step"


def due(epoch: int, first: int, config: Config) -> bool:
    """Whether to evaluate after this epoch."""
    last = epoch == config.train.epochs
    return epoch >= first and (last or (epoch - first) % config.train.eval_every == 0)


def progress_bar(console: Console) -> Progress:
    return Progress(
        BarColumn(bar_width=8),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}"),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=console,
    )
