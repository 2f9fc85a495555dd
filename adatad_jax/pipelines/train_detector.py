"""Training of a detector: its inputs, its plan, and how it is evaluated."""

import functools
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from rich.console import Console

from adatad_jax.config.build import learner, make_loss, make_model
from adatad_jax.config.fields import Config
from adatad_jax.config.memory import settings
from adatad_jax.conversion.detector import check_parameters
from adatad_jax.data.annotations import Video
from adatad_jax.data.batch import Batch
from adatad_jax.data.dataset import TrainingWindows
from adatad_jax.data.fingerprint import fingerprints
from adatad_jax.data.loader import TrainingBatches, training_batch
from adatad_jax.data.paths import check_paths
from adatad_jax.data.propose import resolve
from adatad_jax.data.stored_features import FeatureWindows, features_folder
from adatad_jax.data.subset import Subset, load_classes, load_subset
from adatad_jax.data.usable_videos import usable
from adatad_jax.devices.choice import Sharing, share_devices
from adatad_jax.devices.processes import ALONE, Processes, is_first
from adatad_jax.evaluation.mean_ap import Metrics
from adatad_jax.inference.predictor import Predictor
from adatad_jax.inference.test_set import Evaluation, load_evaluation
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.models.layers import Params
from adatad_jax.models.policy import MemoryPolicy
from adatad_jax.models.sizes import CHUNK_FRAMES
from adatad_jax.pipelines import training
from adatad_jax.pipelines.backbone_features import store_features
from adatad_jax.pipelines.fitting import evaluated, training_policy
from adatad_jax.pipelines.sample_windows import SampleWindows
from adatad_jax.pipelines.task import Measuring, Plan, Run, Task
from adatad_jax.training.detection_loss import make_detection_loss
from adatad_jax.training.forgiving import forgiving
from adatad_jax.training.memory import memory_savings
from adatad_jax.training.optimizer import group_rates, make_optimizer, make_optimizer_config
from adatad_jax.training.parameters import detector_groups, group_norms
from adatad_jax.training.state import TrainState
from adatad_jax.training.step import make_train_step, map_step
from adatad_jax.training.weights_and_biases import check_wandb
from adatad_jax.weights.changes import Changes, check_fields, check_videos
from adatad_jax.weights.initialize import Initial, initialize, parameter_shapes
from adatad_jax.weights.restore import keep_open_fields
from adatad_jax.weights.run_folder import check_unlocked


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


def train(config: Config, workdir: Path, console: Console, processes: Processes = ALONE) -> TrainState:
    """Trains a detector to the last epoch; see `training.train`."""

    def open_task() -> DetectorTraining:
        return DetectorTraining(check_inputs(config, workdir, console))

    return training.train(open_task, functools.partial(memory_savings, config), config, workdir, console, processes)


class DetectorTraining(Task[AdaTAD]):
    """The training of a detector; see `Task`."""

    def __init__(self, inputs: Inputs) -> None:
        """Takes checked inputs."""
        self._inputs, self._config = inputs, inputs.config
        self.run, self.sharing, self.batches = inputs.run, inputs.sharing, inputs.batches
        self.fingerprints = {subset: fingerprints(videos) for subset, videos in inputs.videos.items()}
        self.samples = len(inputs.windows.order(0))
        self.frames = self._config.data.window * self._config.data.frames_per_position
        self.segments = self._config.data.annotations

    def describe(self) -> str:
        segments = sum(len(labels) for _, labels in self._inputs.train_set.truth.values())
        return f"{len(self._inputs.windows)} videos, {segments} segments, {len(self._inputs.classes)} classes"

    def planner(
        self, kept: Mapping[str, Any] | None, console: Console, processes: Processes
    ) -> Callable[[int], Plan[AdaTAD]]:
        classes = len(self._inputs.classes)
        policy = training_policy(self._config, self.sharing, classes, kept, console, processes).policy
        steps_per_epoch = self.batches.steps_per_epoch
        return functools.partial(make_plan, self._config, policy, self.sharing, classes, steps_per_epoch)

    def initialize(self, plan: Plan[AdaTAD]) -> Initial:
        return initialize(plan.model, self._config, self._inputs.classes)

    def parameter_shapes(self, plan: Plan[AdaTAD]) -> Params:
        return parameter_shapes(plan.model, self._config)

    def check_parameters(self, plan: Plan[AdaTAD], params: Params) -> None:
        check_parameters(params, plan.model, self.run.workdir)

    def prepare(self, plan: Plan[AdaTAD], frozen: Params, processes: Processes, console: Console) -> None:
        """Stores the features of a frozen backbone, where the configuration says so."""
        if isinstance(self._inputs.windows, FeatureWindows):
            store_features(self._inputs.windows, self._config, plan.model, frozen, processes, console)

    def filler(self) -> Batch:
        return training_batch([None], self._config, self._inputs.windows.segment_rows)

    def measuring(self, plan: Plan[AdaTAD], console: Console, processes: Processes) -> Measuring | None:
        evaluation = self._inputs.evaluation
        if evaluation is None:
            return None
        samples = SampleWindows(evaluation, self.run.workdir) if is_first() else None
        measure = _measure(evaluation, evaluated(plan.model, self._config, self.sharing), samples, console, processes)
        return Measuring(measure, {} if samples is None else samples.pictures)


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
    check_wandb(config.train.wandb)
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


def make_plan(
    config: Config, policy: MemoryPolicy, sharing: Sharing, classes: int, steps_per_epoch: int, shift: int = 0
) -> Plan[AdaTAD]:
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
    optimizer, groups = make_optimizer(optimizer_config), detector_groups(optimizer_config.full)
    loss = make_detection_loss(learner(model, config), make_loss(config.train), sharing.shares)
    norms = functools.partial(group_norms, groups=groups)
    step = make_train_step(loss, optimizer, config.train.ema, config.train.accumulate, norms)
    if config.train.skip_bad_steps:
        step = forgiving(step)
    peaks = {group: rate for group, rate in optimizer_config.rates.items() if rate}
    return Plan(
        devices=sharing.devices,
        model=model,
        memory=settings(policy),
        groups=groups,
        optimizer=optimizer,
        rates=group_rates(optimizer_config),
        peaks=peaks,
        weight_decay=config.train.weight_decay,
        step=map_step(step, sharing.devices),
        normalizer=config.train.normalizer_start,
        frozen_dtype=config.model.frozen_dtype,
        rate_fields=("--config.train.tia_rate", "head_rate"),
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


def metrics_record(metrics: Metrics) -> dict[str, Any]:
    """Returns what an epoch's record holds of an evaluation: `average_mAP`, `mAP` by tIoU, `class_AP` by class."""
    return {
        "average_mAP": metrics.average_map,
        "mAP": {f"{tiou:g}": float(value) for tiou, value in zip(metrics.tious, metrics.map, strict=True)},
        "class_AP": {name: float(row.mean()) for name, row in zip(metrics.classes, metrics.per_class, strict=True)},
    }
