"""Training of a detector from its configuration to the last checkpoint; `train` reads top to bottom."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
import orbax.checkpoint as ocp
from rich.console import Console
from rich.progress import Progress

from adatad_jax.config.build import make_loss, make_model
from adatad_jax.config.fields import Config
from adatad_jax.console import progress_bar
from adatad_jax.data.dataset import TrainingWindows
from adatad_jax.data.fingerprint import fingerprints
from adatad_jax.data.loader import TrainingBatches, placed_ahead
from adatad_jax.data.paths import check_paths
from adatad_jax.data.propose import resolve
from adatad_jax.data.subset import Subset, load_classes, load_subset
from adatad_jax.data.usable_videos import usable
from adatad_jax.devices.choice import set_precision, usable_devices
from adatad_jax.devices.placing import replicate
from adatad_jax.inference.predictor import Predictor
from adatad_jax.inference.test_set import Evaluation, load_evaluation
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.models.layers import Params
from adatad_jax.pipelines.start import Run, Start, continue_run, start_run, write_start
from adatad_jax.training import checkpoints, loop
from adatad_jax.training.detection_loss import make_detection_loss
from adatad_jax.training.epochs import CountEpoch, LogEpoch
from adatad_jax.training.evaluating import Evaluate
from adatad_jax.training.guards import StopIfNotFinite
from adatad_jax.training.history import read_history, report_evaluations, write_history
from adatad_jax.training.optimizer import OptimizerConfig, make_optimizer, make_optimizer_config
from adatad_jax.training.parameters import groups_table, merge, parameter_groups
from adatad_jax.training.progress import ShowProgress
from adatad_jax.training.saving import SaveCheckpoint
from adatad_jax.training.state import TrainState
from adatad_jax.training.step import Step, make_train_step, map_step
from adatad_jax.weights.changes import Changes, check_fields, check_videos
from adatad_jax.weights.initialize import initialize
from adatad_jax.weights.restore import keep_open_fields
from adatad_jax.weights.run_folder import locked


class Inputs(NamedTuple):
    """Everything that a training reads, after all checks.

    Attributes:
      config: without open fields.
      classes: the model's class names.
      train_set: the training videos.
      windows: of the training videos.
      batches: of the windows.
      evaluation: the test subset; None if the run does not evaluate.
      run: what the run's folder must agree with.
    """

    config: Config
    classes: tuple[str, ...]
    train_set: Subset
    windows: TrainingWindows
    batches: TrainingBatches
    evaluation: Evaluation | None
    run: Run


class Plan(NamedTuple):
    """What a training computes with.

    Attributes:
      devices: that share a batch.
      model: the detector.
      optimizer_config: rates and lengths of the run.
      optimizer: of the trained parameters.
      step: the training step, mapped over the devices.
      rates: `[steps]` learning rates of the adapters, as the progress bar shows them.
    """

    devices: list[jax.Device]
    model: AdaTAD
    optimizer_config: OptimizerConfig
    optimizer: optax.GradientTransformation
    step: Step
    rates: np.ndarray


def train(config: Config, workdir: Path, console: Console) -> TrainState:
    """Trains a detector to the last epoch, starting from the folder's latest checkpoint if there is one.

    Args:
      config: of the run.
      workdir: the run's folder.
      console: where to report.

    Returns:
      The state after the last step, on the host.

    Raises:
      UserError: something that the configuration names is missing or wrong (nothing is written then); or the loss or
        gradient is no longer finite (the message names the step).
    """
    set_precision(config.model.dtype)
    inputs = check_inputs(config, workdir, console)
    config, batches = inputs.config, inputs.batches
    plan = make_plan(inputs)
    # Read before anything is written: the weights may be missing or not fit the model.
    initial = None if checkpoints.has_checkpoint(workdir) else initialize(plan.model, config, inputs.classes)
    console.print(
        f"{len(inputs.windows)} videos, {sum(len(labels) for _, labels in inputs.train_set.truth.values())} segments, "
        f"{len(inputs.classes)} classes; {batches.steps_per_epoch} steps per epoch on {len(plan.devices)} "
        f"{plan.devices[0].platform} device(s)"
    )
    with locked(workdir), checkpoints.open_manager(workdir, config.train.keep_checkpoints) as manager:
        step = manager.latest_step()
        if step:
            saved = checkpoints.read(manager, step)
            start = continue_run(inputs.run, plan.model, plan.optimizer_config, plan.optimizer, step, saved, console)
        else:
            initial = initial or initialize(plan.model, config, inputs.classes)
            start = start_run(inputs.run, plan.optimizer_config, plan.optimizer, initial, console)
        plan = make_plan(inputs, start.shift)
        write_start(inputs.run, start, plan.rates, console)
        console.print(groups_table(_groups(start.state, plan.optimizer_config)))
        write_history(workdir, [record for record in read_history(workdir) if record["step"] <= start.step])
        with progress_bar(console, stays=True) as bar:
            state = loop.run(
                plan.step,
                replicate(start.state, plan.devices),
                placed_ahead(batches.from_step(start.step + start.shift, len(plan.rates) + start.shift), plan.devices),
                start.step,
                batches.steps_per_epoch,
                _hooks(inputs, plan, start, workdir, manager, bar, console),
                start.shift,
            )
        checkpoints.finish(manager)
    report_evaluations(workdir, console)
    console.print(f"trained for {config.train.epochs} epochs; checkpoints are in {manager.directory}")
    result: TrainState = jax.device_get(state)
    return result


def check_inputs(config: Config, workdir: Path, console: Console) -> Inputs:
    """Reads and checks everything that a training needs, before anything is computed or written.

    Args:
      config: of the run; fields may be open.
      workdir: the run's folder.
      console: where to report.

    Raises:
      UserError: something that the configuration names is missing or wrong, or the folder holds another run.
    """
    check_paths(config)
    config = resolve(keep_open_fields(config, workdir), console)
    classes = load_classes(config)
    fields = check_fields(workdir, config, classes)
    train_set = usable(load_subset(config, config.data.train_subset, classes, training=True), config)
    windows = TrainingWindows(train_set, config)
    batches = TrainingBatches(windows, config, jax.process_index(), jax.process_count())
    evaluation = load_evaluation(config, classes) if config.train.eval_from else None
    videos = fingerprints(train_set.videos)
    changes = Changes(fields, check_videos(workdir, videos, config.train.resume_with_changes))
    order = {
        "steps_per_epoch": batches.steps_per_epoch,
        "videos": len(windows),
        "videos_sha256": hashlib.sha256("\n".join(train_set.videos).encode()).hexdigest(),
        "batch_size": config.train.batch_size,
        "release_gpus": config.train.release_gpus,
    }
    run = Run(workdir, config, classes, order, videos, changes)
    return Inputs(config, classes, train_set, windows, batches, evaluation, run)


def make_plan(inputs: Inputs, shift: int = 0) -> Plan:
    """Returns what a training computes with.

    Args:
      inputs: of the training.
      shift: as in `OptimizerConfig`.

    Raises:
      UserError: the schedule of the learning rates is impossible.
    """
    config = inputs.config
    devices = usable_devices(config.train.batch_size)
    model = make_model(config, len(inputs.classes))
    optimizer_config = make_optimizer_config(config, inputs.batches.steps_per_epoch, shift)
    optimizer = make_optimizer(optimizer_config)
    loss = make_detection_loss(model, make_loss(config.train))
    step = map_step(make_train_step(loss, optimizer, config.train.ema), devices)
    rates = optimizer_config.scheduled(config.train.tia_rate)
    return Plan(devices, model, optimizer_config, optimizer, step, rates)


def _hooks(
    inputs: Inputs,
    plan: Plan,
    start: Start,
    workdir: Path,
    manager: ocp.CheckpointManager,
    bar: Progress,
    console: Console,
) -> list[loop.Hook]:
    """Returns the hooks of the training loop, in the order in which they run."""
    config, steps_per_epoch = inputs.config, inputs.batches.steps_per_epoch
    windows, processes = len(inputs.windows.order(0)), jax.process_count()
    listed: list[loop.Hook] = [
        StopIfNotFinite(),
        ShowProgress(bar, plan.rates, start.step, steps_per_epoch, start.shift),
        CountEpoch(start.tally, windows, processes, console, config.data.annotations),
    ]
    if inputs.evaluation is not None:  # before the log and the checkpoint, which hold the result
        listed.append(Evaluate(config.train, _measure(inputs.evaluation, plan.model, config, console)))
    return [
        *listed,
        LogEpoch(workdir, console),
        SaveCheckpoint(manager, config.train, start.tally, {**inputs.run.order, "shift": start.shift}),
    ]


def _groups(state: TrainState, config: OptimizerConfig) -> Any:
    """Lists the groups of parameters of a run."""
    return parameter_groups(merge(state.trained, state.frozen), config.rates, config.weight_decay, config.full)


def _measure(evaluation: Evaluation, model: AdaTAD, config: Config, console: Console) -> Callable[[Params], float]:
    """Makes the function that measures the average mAP of a parameter tree; its first call compiles the model."""
    predictor: Predictor | None = None

    def measure(params: Params) -> float:
        nonlocal predictor
        if predictor is None:
            predictor = Predictor(model, params, config.test.batch_size)
        else:
            predictor.load(params)
        return evaluation.measure(evaluation.detect(predictor, console)).average_map

    return measure
