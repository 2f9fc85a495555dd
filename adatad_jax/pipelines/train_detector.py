"""Training of a detector from its configuration to the last checkpoint; `train` reads top to bottom."""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from rich.console import Console

from adatad_jax.config.build import learner, make_loss, make_model
from adatad_jax.config.fields import Config
from adatad_jax.data.annotations import Video
from adatad_jax.data.dataset import TrainingWindows
from adatad_jax.data.fingerprint import fingerprints
from adatad_jax.data.loader import TrainingBatches, placed_ahead
from adatad_jax.data.paths import check_paths
from adatad_jax.data.propose import resolve
from adatad_jax.data.stored_features import FeatureWindows, features_folder
from adatad_jax.data.subset import Subset, load_classes, load_subset
from adatad_jax.data.usable_videos import usable
from adatad_jax.devices.choice import Sharing, set_precision, share_devices
from adatad_jax.devices.faults import faults_explained
from adatad_jax.devices.placing import replicate
from adatad_jax.devices.processes import ALONE, Processes, is_first
from adatad_jax.inference.predictor import Predictor
from adatad_jax.inference.test_set import Evaluation, load_evaluation
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.models.layers import Params
from adatad_jax.models.policy import MemoryPolicy
from adatad_jax.models.sizes import CHUNK_FRAMES
from adatad_jax.pipelines.backbone_features import store_features
from adatad_jax.pipelines.compiled_ahead import compile_ahead
from adatad_jax.pipelines.fitting import evaluated, training_policy
from adatad_jax.pipelines.sample_windows import SampleWindows
from adatad_jax.pipelines.start import Run, Start, continue_run, start_run, write_start
from adatad_jax.pipelines.together import check_same_inputs, check_same_start, locked_together
from adatad_jax.pipelines.watching import Watched, Watching, metrics_record, watch
from adatad_jax.training import checkpoints, choosing, loop
from adatad_jax.training.detection_loss import make_detection_loss
from adatad_jax.training.epochs import CountEpoch, LogEpoch
from adatad_jax.training.evaluating import Evaluate
from adatad_jax.training.forgiving import forgiving
from adatad_jax.training.guards import StopIfNotFinite
from adatad_jax.training.history import read_history, report_evaluations, write_history
from adatad_jax.training.leaving import Leaving, leaves_when_asked
from adatad_jax.training.memory import levers
from adatad_jax.training.optimizer import OptimizerConfig, group_rates, make_optimizer, make_optimizer_config
from adatad_jax.training.parameters import group_norms, groups_table, merge, parameter_groups, trained_groups
from adatad_jax.training.retention import Retention
from adatad_jax.training.saving import SaveCheckpoint
from adatad_jax.training.state import TrainState
from adatad_jax.training.step import Step, make_train_step, map_step
from adatad_jax.training.weights_and_biases import check_installed
from adatad_jax.training.writing import CheckpointWriter
from adatad_jax.weights.changes import Changes, check_fields, check_videos
from adatad_jax.weights.initialize import initialize
from adatad_jax.weights.restore import keep_open_fields
from adatad_jax.weights.run_folder import check_unlocked, read_policy


class Inputs(NamedTuple):
    """Everything that a training reads, after all checks.

    Attributes:
      config: without open fields.
      classes: the model's class names.
      train_set: the training videos.
      windows: of the training videos.
      sharing: how devices share a batch of windows.
      batches: of the windows.
      evaluation: the test subset; None if the run does not evaluate.
      run: what the run's folder must agree with.
    """

    config: Config
    classes: tuple[str, ...]
    train_set: Subset
    windows: TrainingWindows
    sharing: Sharing
    batches: TrainingBatches
    evaluation: Evaluation | None
    run: Run

    @property
    def videos(self) -> dict[str, dict[str, Video]]:
        """Returns the annotated videos of each subset."""
        test = self.evaluation.windows.videos if self.evaluation is not None else {}
        return {"training": self.train_set.videos, "test": test}


class Plan(NamedTuple):
    """What a training computes with.

    Attributes:
      devices: that share a batch.
      model: the detector, as one device computes it.
      optimizer_config: rates and lengths of the run.
      optimizer: of the trained parameters.
      step: the training step, mapped over the devices.
      rates: `[steps]` learning rates of the adapters.
    """

    devices: tuple[jax.Device, ...]
    model: AdaTAD
    optimizer_config: OptimizerConfig
    optimizer: optax.GradientTransformation
    step: Step
    rates: np.ndarray


def train(config: Config, workdir: Path, console: Console, processes: Processes = ALONE) -> TrainState:
    """Trains a detector to the last epoch, starting from the folder's latest checkpoint if there is one.

    Args:
      config: of the run.
      workdir: the run's folder.
      console: where to report.
      processes: that train together (`joined`); all must call this.

    Returns:
      The state after the last step, on the host.

    Raises:
      UserError: something that the configuration names is missing or wrong (nothing is written then); a video can no
        longer be read (the state is saved then); the loss or gradient is no longer finite (the message names the step);
        or memory ran out.
      MachineError: a device failed.
      Left: SIGTERM, SIGINT, SIGHUP or a notice of preemption asked the run to leave. Its state is saved; the same call
        continues it. While this runs in the main thread, these signals are handled.
    """
    of_config = functools.partial(levers, config)
    with leaves_when_asked(config.train.grace, console) as leaving, faults_explained(of_config):
        return _train(config, workdir, console, leaving, processes)


def _train(config: Config, workdir: Path, console: Console, leaving: Leaving, processes: Processes) -> TrainState:
    """Trains a detector; see `train`."""
    set_precision(config.model.dtype)
    inputs = check_inputs(config, workdir, console)
    config, batches = inputs.config, inputs.batches
    check_same_inputs(processes, config, inputs.classes, inputs.videos)
    begun = choosing.has_checkpoint(workdir)
    planned = _planner(inputs, read_policy(workdir) if begun else None, console, processes)
    plan = planned(0)
    # Read before anything is written: the weights may be missing or not fit the model.
    initial = None if begun else initialize(plan.model, config, inputs.classes)
    console.print(
        f"{len(inputs.windows)} videos, {sum(len(labels) for _, labels in inputs.train_set.truth.values())} segments, "
        f"{len(inputs.classes)} classes; {batches.steps_per_epoch} steps per epoch; {inputs.sharing.describe()}"
    )
    retention = Retention(config.train.keep_checkpoints, config.train.keep_evaluated)
    with locked_together(workdir, processes), checkpoints.open_manager(workdir, retention) as manager:
        if saved := choosing.read_to_continue(manager):
            start = continue_run(inputs.run, plan.model, plan.optimizer_config, plan.optimizer, saved, console)
        else:
            initial = initial or initialize(plan.model, config, inputs.classes)
            start = start_run(inputs.run, plan.optimizer_config, plan.optimizer, initial, console)
        check_same_start(processes, start)
        plan = planned(start.shift)
        write_start(inputs.run, start, plan.model.policy, plan.rates, console)
        start = start.with_frozen_in(config.model.frozen_dtype, plan.optimizer_config.full)
        if isinstance(inputs.windows, FeatureWindows):
            store_features(inputs.windows, config, plan.model, start.state.frozen, processes, console)
        console.print(groups_table(_groups(start.state, plan.optimizer_config)))
        retention.epochs |= {record["step"]: record for record in _cut_history(workdir, start)}
        with (
            watch(_watched(inputs, plan, start), inputs.evaluation, console) as watching,
            CheckpointWriter(manager, config.train.failed_saves) as writer,
        ):
            save = SaveCheckpoint(
                writer, retention, config.train, start.tally, {**inputs.run.order, "shift": start.shift}
            )
            ending = _ending(inputs, plan, watching, console, leaving, processes)
            state = replicate(start.state, plan.devices)
            if start.unfinished is not None:
                retention.epochs[start.step] = start.unfinished
                _end_epoch(ending, start.step, state, start.unfinished)
            state = loop.run(
                plan.step,
                state,
                placed_ahead(
                    batches.from_step(start.step + start.shift, len(plan.rates) + start.shift), inputs.sharing
                ),
                start.step,
                batches.steps_per_epoch,
                [*_hooks(inputs, plan, start, console), *watching.steps, *([save] if is_first() else []), *ending],
                leaving,
                processes,
                start.shift,
                _compiler(inputs, plan, start, processes),
            )
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
    if is_first():
        check_unlocked(workdir)
    check_paths(config)
    check_installed(config.train.wandb)
    config = resolve(keep_open_fields(config, workdir), console)
    classes = load_classes(config)
    fields = check_fields(workdir, config, classes)
    train_set = usable(load_subset(config, config.data.train_subset, classes, training=True), config)
    folder = features_folder(config, workdir)
    windows = TrainingWindows(train_set, config) if folder is None else FeatureWindows(train_set, config, folder)
    sharing = sharing_of(config)
    batches = TrainingBatches(windows, config, sharing, jax.process_index())
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
    return Inputs(config, classes, train_set, windows, sharing, batches, evaluation, run)


def sharing_of(config: Config) -> Sharing:
    """Returns how the devices share a batch; raises `UserError` if some process would have none in use."""
    chunks = config.data.window * config.data.frames_per_position // CHUNK_FRAMES
    return share_devices(jax.devices(), config.train.batch_size, config.train.accumulate, chunks)


def _planner(
    inputs: Inputs, kept: Mapping[str, Any] | None, console: Console, processes: Processes
) -> Callable[[int], Plan]:
    """Chooses how a training fits its devices, and returns a function from the shift of the schedule to the plan.

    Args:
      inputs: of the training.
      kept: what the run was computed with so far (`read_policy`); None: it has not begun.
      console: where to report.
      processes: that train together.

    Raises:
      UserError: it does not fit.
    """
    config, sharing, classes = inputs.config, inputs.sharing, len(inputs.classes)
    policy = training_policy(config, sharing, classes, kept, console, processes).policy
    return functools.partial(make_plan, config, policy, sharing, classes, inputs.batches.steps_per_epoch)


def make_plan(
    config: Config, policy: MemoryPolicy, sharing: Sharing, classes: int, steps_per_epoch: int, shift: int = 0
) -> Plan:
    """Returns what a training computes with.

    Args:
      config: of the run, without open fields.
      policy: of memory (`training_policy`).
      sharing: how devices share a batch.
      classes: number of classes.
      steps_per_epoch: of the run.
      shift: as in `OptimizerConfig`.

    Raises:
      UserError: the schedule of the learning rates is impossible.
    """
    model = make_model(config, classes, policy)
    optimizer_config = make_optimizer_config(config, steps_per_epoch, shift)
    optimizer = make_optimizer(optimizer_config)
    loss = make_detection_loss(learner(model, config), make_loss(config.train), sharing.shares)
    step = make_train_step(loss, optimizer, config.train.ema, config.train.accumulate, group_norms)
    if config.train.skip_bad_steps:
        step = forgiving(step)
    rates = optimizer_config.scheduled(config.train.tia_rate)
    return Plan(sharing.devices, model, optimizer_config, optimizer, map_step(step, sharing.devices), rates)


def _compiler(inputs: Inputs, plan: Plan, start: Start, processes: Processes) -> Callable[[TrainState], None]:
    """Returns a function that compiles the step ahead; it does nothing where no step is left, or there are others."""
    if processes.count > 1 or start.step >= len(plan.rates):
        return lambda state: None
    return functools.partial(compile_ahead, plan.step, inputs.config, inputs.sharing, inputs.windows.segment_rows)


def _cut_history(workdir: Path, start: Start) -> list[dict[str, Any]]:
    """Cuts the history of a run to the epochs before a start, and returns it."""
    history = [record for record in read_history(workdir) if record["step"] <= start.step]
    if is_first():
        write_history(workdir, history)
    return history


def _hooks(inputs: Inputs, plan: Plan, start: Start, console: Console) -> list[loop.Hook]:
    """Returns the hooks of the training loop before those that show, save and end an epoch, in their order."""
    config = inputs.config
    return [
        StopIfNotFinite(plan.optimizer_config, config.train.skip_bad_steps, console),
        CountEpoch(start.tally, len(inputs.windows.order(0)), console, config.data.annotations),
    ]


def _ending(
    inputs: Inputs, plan: Plan, watching: Watching, console: Console, leaving: Leaving, processes: Processes
) -> list[loop.Hook]:
    """Returns the hooks that end an epoch once its checkpoint is saved; a resumed run may begin with them."""
    evaluations: list[loop.Hook] = []
    if inputs.evaluation is not None:  # before the log, which holds the result
        measure = _measure(
            inputs.evaluation, evaluated(plan.model, inputs.config), watching.samples, console, processes
        )
        evaluations.append(Evaluate(inputs.config.train, measure, leaving))
    logs = [LogEpoch(inputs.run.workdir, console)] if is_first() else []
    return [*evaluations, *logs, *watching.epochs]


def _end_epoch(hooks: list[loop.Hook], step: int, state: TrainState, record: dict[str, Any]) -> None:
    """Does what an interruption after the checkpoint of an epoch has left: its evaluation, its line in the history.

    Args:
      hooks: from `_ending`.
      step: number of steps taken.
      state: on the devices.
      record: of the epoch.
    """
    place = loop.Place(step, record["epoch"], 0)
    for hook in hooks:
        if hook.due(place):
            hook.pause(place, state, record)


def _groups(state: TrainState, config: OptimizerConfig) -> Any:
    """Lists the groups of parameters of a run."""
    return parameter_groups(merge(state.trained, state.frozen), config.rates, config.weight_decay, config.full)


def _watched(inputs: Inputs, plan: Plan, start: Start) -> Watched:
    """Returns what is shown of a run."""
    run = inputs.run
    videos = hashlib.sha256(json.dumps(run.videos, sort_keys=True).encode()).hexdigest()
    return Watched(
        inputs.config,
        plan.model.policy,
        run.workdir,
        plan.devices,
        group_rates(plan.optimizer_config, trained_groups(start.state.trained)),
        start.step,
        run.order["steps_per_epoch"],
        {**run.order, "annotations_sha256": videos},
        start.shift,
    )


def _measure(
    evaluation: Evaluation, model: AdaTAD, samples: SampleWindows | None, console: Console, processes: Processes
) -> Callable[[Params], dict[str, Any]]:
    """Makes the function that evaluates a parameter tree, for the epoch's record; its first call compiles the model."""
    predictor: Predictor | None = None

    def measure(params: Params) -> dict[str, Any]:
        nonlocal predictor
        if predictor is None:
            predictor = Predictor(model, params, evaluation.config.test.batch_size)
        else:
            predictor.load(params)
        results = evaluation.detect(predictor, console, processes)
        if samples is not None:
            samples.draw(results)
        return metrics_record(evaluation.measure(results))

    return measure
