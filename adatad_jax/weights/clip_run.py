"""Runs of the trainings on clips: masked pre-training, and fine-tuning of a classifier."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from adatad_jax.config.build_clips import check_finetuning, check_pretraining, make_autoencoder, make_classifier
from adatad_jax.config.clip_fields import FinetuningConfig, PretrainingConfig
from adatad_jax.conversion.beside import Beside
from adatad_jax.conversion.names import MMACTION, network_naming
from adatad_jax.conversion.networks import Network, check_network, network_leaves, write_leaves
from adatad_jax.errors import UserError
from adatad_jax.models.classifier import Classifier
from adatad_jax.models.layers import Params
from adatad_jax.training.choosing import origin, read_chosen
from adatad_jax.training.parameters import merge
from adatad_jax.training.retention import LATEST, Choice
from adatad_jax.weights.backbone_store import LoadedBackbone
from adatad_jax.weights.frozen import read_frozen
from adatad_jax.weights.restore import restore_record
from adatad_jax.weights.run_folder import read_config, read_task

ClipConfig = PretrainingConfig | FinetuningConfig


class ClipRun(NamedTuple):
    """What a run has trained.

    Attributes:
      config: of the run.
      classes: names of the classifier's outputs; none of a masked autoencoder.
      model: the network.
      params: its parameters, on the host; averages.
      origin: which checkpoint they are of, as text.
    """

    config: ClipConfig
    classes: tuple[str, ...]
    model: Network
    params: Params
    origin: str


class _Task(NamedTuple):
    """How the runs of a task are restored: kind and check of their configuration, and their network."""

    kind: type[Any]
    check: Callable[[Any], None]
    make: Callable[[Any, tuple[str, ...]], Network]


_TASKS = {
    PretrainingConfig.task: _Task(PretrainingConfig, check_pretraining, lambda config, _: make_autoencoder(config)),
    FinetuningConfig.task: _Task(
        FinetuningConfig, check_finetuning, lambda config, classes: make_classifier(config, len(classes))
    ),
}


def is_clip_run(workdir: Path) -> bool:
    """Tells whether the run in a folder is one of these; raises `UserError` as `read_config` does."""
    return read_task(workdir) in _TASKS


def read_clip_run(workdir: Path, step: Choice = LATEST) -> ClipRun:
    """Reads what a run has trained.

    Args:
      workdir: the run's folder.
      step: which checkpoint, as for `read_chosen`.

    Raises:
      UserError: there is no such run or checkpoint, it is damaged, or its parameters do not fit its configuration.
    """
    name = read_task(workdir)
    task = _TASKS.get(name)
    if task is None:
        raise UserError(f"{workdir}: a run of {name}; expected one of {' or '.join(_TASKS)}")
    fields, classes = read_config(workdir, name)
    config = restore_record(fields, workdir, task.kind, task.check)
    model = task.make(config, classes)
    saved = read_chosen(workdir, step)
    params = merge(saved.average, read_frozen(workdir, saved))
    check_network(params, model, workdir)
    return ClipRun(config, classes, model, params, f"{name}, {origin(workdir, saved)}")


def backbone_of_run(run: ClipRun) -> LoadedBackbone:
    """Returns the encoder of a run as it is read from a converted backbone, with what is beside it."""
    config, vit = run.config, run.model.config.encoder
    beside = [leaf for leaf in network_leaves(run.model) if leaf.path[0] != "encoder" or leaf.path[1] == "norm"]
    is_classifier = isinstance(run.model, Classifier)
    return LoadedBackbone(
        params={name: leaf for name, leaf in run.params["encoder"].items() if name != "norm"},
        summary=f"{run.origin}: averages",
        norm_eps=vit.norm_eps,
        unused=write_leaves(beside, run.params, network_naming(MMACTION)),
        beside=Beside(
            MMACTION.layout,
            None if isinstance(run.model, Classifier) else run.model.config.decoder.heads,
            run.model.config.head_norm_eps,
            run.classes if is_classifier else None,
            config.data.crop if is_classifier else None,
            config.data.stride if is_classifier else None,
        ),
        heads=vit.heads,
        image_size=vit.image_size,
        is_pre_trained=not is_classifier,
        origin=run.origin,
    )
