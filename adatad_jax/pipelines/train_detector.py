"""Training of a detector from its configuration to the last checkpoint; `train` reads top to bottom."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import orbax.checkpoint as ocp
from rich.console import Console

from adatad_jax.config.build import make_loss, make_model
from adatad_jax.config.fields import Config
from adatad_jax.console import progress_bar
from adatad_jax.conversion.detector import check_parameters
from adatad_jax.conversion.folders import PASSENGERS_FILE
from adatad_jax.conversion.torch_file import write_tensors
from adatad_jax.data.dataset import TrainingWindows
from adatad_jax.data.loader import TrainingBatches, placed_ahead
from adatad_jax.data.paths import check_paths
from adatad_jax.data.propose import resolve
from adatad_jax.data.subset import Subset, load_classes, load_subset
from adatad_jax.data.usable_videos import usable
from adatad_jax.devices import replicate, set_precision, usable_devices
from adatad_jax.errors import UserError
from adatad_jax.inference.predictor import Predictor
from adatad_jax.inference.test_set import Evaluation, load_evaluation
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.models.layers import Params
from adatad_jax.training import checkpoints, hooks, loop
from adatad_jax.training.detection_loss import make_detection_loss
from adatad_jax.training.history import Tally, read_history, report_evaluations, write_history
from adatad_jax.training.optimizer import OptimizerConfig, make_optimizer, make_optimizer_config
from adatad_jax.training.parameters import groups_table, merge, parameter_groups, split
from adatad_jax.training.schedule import warmup_cosine
from adatad_jax.training.state import TrainState, create_state
from adatad_jax.training.step import make_train_step, map_step
from adatad_jax.weights.frozen import read_frozen, write_frozen
from adatad_jax.weights.initialize import initialize, parameter_shapes
from adatad_jax.weights.run_folder import check_config, locked, write_config


class Inputs(NamedTuple):
    """All that a training reads, checked.

    Attributes:
      config: without open fields.
      classes: the model's class names.
      train_set: the training videos.
      windows: of the training videos.
      batches: of the windows.
      evaluation: the test subset, if the run evaluates.
      same_data: what tells these training videos from others.
    """

    config: Config
    classes: tuple[str, ...]
    train_set: Subset
    windows: TrainingWindows
    batches: TrainingBatches
    evaluation: Evaluation | None
    same_data: dict[str, Any]


class Start(NamedTuple):
    """Where a training starts.

    Attributes:
      state: on the host.
      step: steps taken before.
      tally: of the epoch that is running.
    """

    state: TrainState
    step: int
    tally: Tally


def train(config: Config, workdir: Path, console: Console) -> TrainState:
    """Trains to the last epoch, from the folder's latest checkpoint if it has one; returns the state on the host.

    Raises:
      UserError: something that the configuration names is missing or wrong, and nothing has been written; or the loss
        is not finite any more, and the step is named.
    """
    set_precision(config.model.dtype)
    inputs = check_inputs(config, workdir, console)
    config = inputs.config
    devices, batches = usable_devices(config.train.batch_size), inputs.batches
    model = make_model(config, len(inputs.classes))
    optimizer_config = make_optimizer_config(config, batches.steps_per_epoch)
    optimizer = make_optimizer(optimizer_config)
    loss = make_detection_loss(model, make_loss(config.train))
    step = map_step(make_train_step(loss, optimizer, config.train.ema), devices)
    console.print(
        f"{len(inputs.windows)} videos, {sum(len(labels) for _, labels in inputs.train_set.truth.values())} segments, "
        f"{len(inputs.classes)} classes; {batches.steps_per_epoch} steps per epoch on {len(devices)} "
        f"{devices[0].platform} device(s)"
    )
    rates = warmup_cosine(
        config.train.tia_rate, optimizer_config.warmup_steps, optimizer_config.schedule_steps, optimizer_config.steps
    )
    with (
        locked(workdir),
        checkpoints.open_manager(workdir, config.train.keep_checkpoints) as manager,
    ):
        write_config(workdir, config, inputs.classes)
        start = find_start(inputs, workdir, manager, model, optimizer, optimizer_config.full, console)
        console.print(groups_table(_groups(start.state, optimizer_config)))
        write_history(workdir, [record for record in read_history(workdir) if record["step"] <= start.step])
        with progress_bar(console, stays=True) as bar:
            beside: list[loop.Hook] = [
                hooks.StopIfNotFinite(),
                hooks.ShowProgress(bar, rates, start.step, batches.steps_per_epoch, ("classification", "regression")),
                hooks.CountEpoch(
                    start.tally,
                    len(inputs.windows.order(0)),
                    jax.process_count(),
                    console,
                    config.data.annotations,
                ),
                hooks.LogEpoch(workdir, console),
                hooks.SaveCheckpoint(manager, config.train, start.tally, inputs.same_data),
            ]
            if inputs.evaluation is not None:  # before the log and the checkpoint, which hold its result
                beside.insert(3, hooks.Evaluate(config.train, _measure(inputs.evaluation, model, config, console)))
            state = loop.run(
                step,
                replicate(start.state, devices),
                placed_ahead(batches.from_step(start.step, len(rates)), devices),
                start.step,
                batches.steps_per_epoch,
                beside,
            )
        checkpoints.finish(manager)
    report_evaluations(workdir, console)
    console.print(f"trained for {config.train.epochs} epochs; checkpoints are in {manager.directory}")
    result: TrainState = jax.device_get(state)
    return result


def check_inputs(config: Config, workdir: Path, console: Console) -> Inputs:
    """Reads and checks all that a training needs, before anything is computed or written.

    Raises:
      UserError: something that the configuration names is missing or wrong, or the folder holds another run.
    """
    check_paths(config)
    config = resolve(config, console)
    classes = load_classes(config)
    check_config(workdir, config, classes)
    train_set = usable(load_subset(config, config.data.train_subset, classes, training=True), config)
    windows = TrainingWindows(train_set, config)
    batches = TrainingBatches(windows, config, jax.process_index(), jax.process_count())
    evaluation = load_evaluation(config, classes) if config.train.eval_from else None
    names = hashlib.sha256("\n".join(train_set.videos).encode()).hexdigest()
    same_data = {"steps_per_epoch": batches.steps_per_epoch, "videos": len(windows), "videos_sha256": names}
    return Inputs(config, classes, train_set, windows, batches, evaluation, same_data)


def find_start(
    inputs: Inputs,
    workdir: Path,
    manager: ocp.CheckpointManager,
    model: AdaTAD,
    optimizer: optax.GradientTransformation,
    full: bool,
    console: Console,
) -> Start:
    """Continues the folder's latest checkpoint, or starts a run in it.

    Raises:
      UserError: the weights or the checkpoint cannot be read or do not fit, or the training videos are others.
    """
    step = manager.latest_step()
    if step:
        return _continue(inputs, workdir, checkpoints.read(manager, step), step, model, optimizer, full, console)
    config = inputs.config
    initial = initialize(model, config)
    console.print(f"{config.weights}\n{initial.summary}")
    trained, frozen = split(initial.params, full)
    write_frozen(workdir, frozen)
    if initial.unused:
        write_tensors(workdir / PASSENGERS_FILE, initial.unused)  # for convert/flax_to_pth.py to give back
    return Start(create_state(trained, frozen, optimizer, config.train.normalizer_start, config.seed), 0, Tally())


def _continue(
    inputs: Inputs,
    workdir: Path,
    saved: checkpoints.Saved,
    step: int,
    model: AdaTAD,
    optimizer: optax.GradientTransformation,
    full: bool,
    console: Console,
) -> Start:
    """Continues a run from what a checkpoint of it holds."""
    same_data, before = inputs.same_data, saved.metadata
    if any(before.get(key, value) != value for key, value in same_data.items()):
        raise UserError(
            f"{workdir}: the training videos are not the same: {before.get('videos', 'others')} with "
            f"{before['steps_per_epoch']} steps per epoch so far, now {same_data['videos']} with "
            f"{same_data['steps_per_epoch']}; give it those again, or another --workdir"
        )
    frozen = read_frozen(workdir, saved)
    config = inputs.config

    def fresh() -> TrainState:
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), parameter_shapes(model, config))
        return create_state(split(zeros, full)[0], {}, optimizer, config.train.normalizer_start, config.seed)

    state = checkpoints.restore_state(
        saved, frozen, jax.eval_shape(fresh), workdir / checkpoints.CHECKPOINTS_FOLDER / str(step)
    )
    check_parameters(merge(state.trained, frozen), model, workdir)
    if saved.frozen is not None:  # a run of version 0.1, whose next checkpoints are those of today
        write_frozen(workdir, frozen)
    console.print(f"continuing {workdir} after step {step} (epoch {step / same_data['steps_per_epoch']:g})")
    return Start(state, step, Tally(before["tally"]))


def _groups(state: TrainState, config: OptimizerConfig) -> Any:
    return parameter_groups(merge(state.trained, state.frozen), config.rates, config.weight_decay, config.full)


def _measure(evaluation: Evaluation, model: AdaTAD, config: Config, console: Console) -> Callable[[Params], float]:
    """Returns a function from a whole tree of parameters to average mAP; the model is compiled at its first call."""
    predictor: Predictor | None = None

    def measure(params: Params) -> float:
        nonlocal predictor
        if predictor is None:
            predictor = Predictor(model, params, config.test.batch_size)
        else:
            predictor.load(params)
        return evaluation.measure(evaluation.detect(predictor, console)).average_map

    return measure
