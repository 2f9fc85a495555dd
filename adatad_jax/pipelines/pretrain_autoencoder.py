"""Masked pre-training of an encoder on videos without labels: its inputs, its plan, and how it is evaluated."""

import functools
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from adatad_jax.config.build_clips import make_autoencoder, masked_patches
from adatad_jax.config.clip_fields import PretrainingConfig
from adatad_jax.conversion.networks import check_network
from adatad_jax.data.cache import Images
from adatad_jax.data.clip_batch import ClipBatch, clip_batches, stack_clips
from adatad_jax.data.clip_videos import find_clip_videos, usable_clips
from adatad_jax.data.clips import pretraining_clips
from adatad_jax.data.fingerprint import clip_fingerprints
from adatad_jax.data.paths import check_pretraining_paths
from adatad_jax.devices.choice import share_devices
from adatad_jax.devices.processes import ALONE, Processes, is_first
from adatad_jax.errors import UserError
from adatad_jax.models.autoencoder import MaskedAutoencoder
from adatad_jax.models.layers import Params
from adatad_jax.models.sizes import CHUNK_FRAMES
from adatad_jax.pipelines import training
from adatad_jax.pipelines.clip_plan import make_clip_plan
from adatad_jax.pipelines.clip_run import check_folder, make_run
from adatad_jax.pipelines.reconstructions import CLIPS, Reconstructions
from adatad_jax.pipelines.task import Measuring, Plan, Task
from adatad_jax.training.clip_parameters import DECODER, ENCODER
from adatad_jax.training.memory import clip_memory_savings
from adatad_jax.training.pretraining_loss import make_pretraining_loss
from adatad_jax.training.state import TrainState
from adatad_jax.weights.initialize import Initial
from adatad_jax.weights.initialize_clips import initialize_autoencoder, network_tree

_logger = logging.getLogger(__name__)


def pretrain(config: PretrainingConfig, workdir: Path, console: Console, processes: Processes = ALONE) -> TrainState:
    """Trains a masked autoencoder to the last epoch; see `training.train`."""
    open_task = functools.partial(Pretraining, config, workdir, console)
    return training.train(
        open_task, functools.partial(clip_memory_savings, config), config, workdir, console, processes
    )


class Pretraining(Task[MaskedAutoencoder]):
    """The training of a masked autoencoder; see `Task`."""

    def __init__(self, config: PretrainingConfig, workdir: Path, console: Console) -> None:
        """Reads and checks everything that the training needs, before anything is computed or written.

        Args:
          config: of the run.
          workdir: the run's folder.
          console: where to report.

        Raises:
          UserError: something that the configuration names is missing or wrong, or the folder holds another run.
        """
        check_folder(workdir, config)
        check_pretraining_paths(config)
        self._config = config
        videos = usable_clips(find_clip_videos(config.data), config.data)
        self._clips = pretraining_clips(videos, config)
        self.sharing = share_devices(jax.devices(), config.train.batch_size, config.train.accumulate, chunks=1)
        self.batches = clip_batches(self._clips, config.data, self.sharing, jax.process_index())
        self.run = make_run(workdir, config, (), clip_fingerprints(videos), self.batches.steps_per_epoch)
        self.fingerprints = {"training": self.run.videos}
        self.samples, self.frames, self.segments = len(self._clips.order(0)), CHUNK_FRAMES, config.data.videos

    def describe(self) -> str:
        return f"{len(self.run.videos)} videos, {self.samples} clips per epoch"

    def planner(
        self, kept: Mapping[str, Any] | None, console: Console, processes: Processes
    ) -> Callable[[int], Plan[MaskedAutoencoder]]:
        model, train = make_autoencoder(self._config), self._config.train
        loss = make_pretraining_loss(model, masked_patches(self._config))
        steps_per_epoch = self.batches.steps_per_epoch

        def plan(shift: int) -> Plan[MaskedAutoencoder]:
            groups = (ENCODER, DECODER)
            return make_clip_plan(
                self._config, model, loss, groups, self.sharing, steps_per_epoch, train.beta2, shift=shift
            )

        return plan

    def initialize(self, plan: Plan[MaskedAutoencoder]) -> Initial:
        return initialize_autoencoder(plan.model, self._config)

    def parameter_shapes(self, plan: Plan[MaskedAutoencoder]) -> Params:
        return network_tree(plan.model)

    def check_parameters(self, plan: Plan[MaskedAutoencoder], params: Params) -> None:
        check_network(params, plan.model, self.run.workdir)

    def filler(self) -> ClipBatch:
        return stack_clips({0: None}, range(1), self._clips.filler)

    def measuring(self, plan: Plan[MaskedAutoencoder], console: Console, processes: Processes) -> Measuring | None:
        if not self._config.train.eval_from:
            return None
        masked = masked_patches(self._config)
        shown = Reconstructions(plan.model, masked, self._config.seed, self._some_clips, self.run.workdir, is_first())
        return Measuring(shown.measure, shown.pictures)

    def _some_clips(self) -> tuple[Images, list[str]]:
        """Loads clips, spread evenly over the videos, as they are in the first epoch.

        With `data.skip_broken`, those that cannot be read are left out and named.

        Raises:
          UserError: one cannot be read and may not be skipped, or none can.
        """
        count, samples = len(self._clips), []
        for place in np.linspace(0, count - 1, min(CLIPS, count)).round().astype(int).tolist():
            try:
                samples.append(self._clips.load(0, place))
            except UserError as error:
                if not self._config.data.skip_broken:
                    raise
                _logger.warning("skipped: %s; its clip is not reconstructed", error)
        if not samples:
            raise UserError(f"{self._config.data.videos}: no clip to reconstruct can be read; see the list above")
        return np.stack([sample.frames for sample in samples]), [sample.video for sample in samples]
