"""Fine-tuning of an encoder on labelled clips: its inputs, its plan, and how it is evaluated."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from adatad_jax.config.build_clips import make_classifier
from adatad_jax.config.clip_fields import FinetuningConfig
from adatad_jax.conversion.networks import check_network
from adatad_jax.data.clip_batch import ClipBatch, clip_batches, stack_clips
from adatad_jax.data.clip_labels import load_labels, usable_labelled
from adatad_jax.data.clip_views import ClipViews
from adatad_jax.data.clips import finetuning_clips
from adatad_jax.data.fingerprint import clip_fingerprints
from adatad_jax.data.paths import check_finetuning_paths
from adatad_jax.devices.choice import share_devices
from adatad_jax.devices.processes import ALONE, Processes
from adatad_jax.models.classifier import Classifier
from adatad_jax.models.layers import Params
from adatad_jax.models.sizes import CHUNK_FRAMES
from adatad_jax.pipelines import training
from adatad_jax.pipelines.clip_plan import make_clip_plan
from adatad_jax.pipelines.clip_run import check_folder, make_run
from adatad_jax.pipelines.task import Measuring, Plan, Task
from adatad_jax.pipelines.tested_videos import TestedVideos
from adatad_jax.training.classification_loss import make_classification_loss
from adatad_jax.training.clip_parameters import ENCODER
from adatad_jax.training.layer_decay import layer_factors
from adatad_jax.training.memory import clip_memory_savings
from adatad_jax.training.parameters import HEAD
from adatad_jax.training.state import TrainState
from adatad_jax.weights.initialize import Initial
from adatad_jax.weights.initialize_clips import initialize_classifier, network_tree


def finetune(config: FinetuningConfig, workdir: Path, console: Console, processes: Processes = ALONE) -> TrainState:
    """Trains a classifier to the last epoch; see `training.train`."""
    open_task = functools.partial(Finetuning, config, workdir, console)
    return training.train(
        open_task, functools.partial(clip_memory_savings, config), config, workdir, console, processes
    )


class Finetuning(Task[Classifier]):
    """The training of a classifier; see `Task`."""

    def __init__(self, config: FinetuningConfig, workdir: Path, console: Console) -> None:
        """Reads and checks everything that the training needs, before anything is computed or written.

        Args:
          config: of the run.
          workdir: the run's folder.
          console: where to report.

        Raises:
          UserError: something that the configuration names is missing or wrong, or the folder holds another run.
        """
        check_folder(workdir, config)
        check_finetuning_paths(config)
        labelled = load_labels(config.data, with_test=config.train.eval_from > 0)
        classes = labelled.classes
        videos = usable_labelled(labelled.training, classes, config.data)
        test = usable_labelled(labelled.test, classes, config.data) if labelled.test else {}
        self._views = ClipViews(test, config.data, config.test.clips, config.test.crops) if test else None
        self._config, self._clips = config, finetuning_clips(videos, config)
        self.sharing = share_devices(jax.devices(), config.train.batch_size, config.train.accumulate, chunks=1)
        mixed, process = config.train.mixup, jax.process_index()
        self.batches = clip_batches(self._clips, config.data, self.sharing, process, mixed)
        known = clip_fingerprints(videos, classes)
        self.run = make_run(workdir, config, classes, known, self.batches.steps_per_epoch)
        self.fingerprints = {"training": known, "test": clip_fingerprints(test, classes)}
        self.samples, self.frames, self.segments = len(self._clips.order(0)), CHUNK_FRAMES, config.data.videos

    def describe(self) -> str:
        tested = 0 if self._views is None else len(self._views.names)
        videos = f"{len(self.run.videos)} videos, {tested} to test"
        return f"{videos}, {len(self.run.classes)} classes, {self.samples} clips per epoch"

    def planner(
        self, kept: Mapping[str, Any] | None, console: Console, processes: Processes
    ) -> Callable[[int], Plan[Classifier]]:
        model, train = make_classifier(self._config, len(self.run.classes)), self._config.train
        loss = make_classification_loss(model, train.label_smoothing)
        factors = layer_factors(network_tree(model), model.config.encoder.depth, train.layer_decay)
        steps_per_epoch = self.batches.steps_per_epoch

        def plan(shift: int) -> Plan[Classifier]:
            groups = (HEAD, ENCODER)
            return make_clip_plan(
                self._config, model, loss, groups, self.sharing, steps_per_epoch, factors=factors, shift=shift
            )

        return plan

    def initialize(self, plan: Plan[Classifier]) -> Initial:
        return initialize_classifier(plan.model, self._config, self.run.classes)

    def parameter_shapes(self, plan: Plan[Classifier]) -> Params:
        return network_tree(plan.model)

    def check_parameters(self, plan: Plan[Classifier], params: Params) -> None:
        check_network(params, plan.model, self.run.workdir)

    def filler(self) -> ClipBatch:
        return stack_clips({0: None}, range(1), self._clips.filler, mixed_size=int(self._config.train.mixup))

    def measuring(self, plan: Plan[Classifier], console: Console, processes: Processes) -> Measuring | None:
        if self._views is None:
            return None
        tested = TestedVideos(self._views, self.run.classes, self._config, self.run.workdir, console, processes)
        return Measuring(functools.partial(tested.measure, plan.model), tested.pictures)
