"""A trained detector, wherever it lies: a run's folder, a converted one, or a checkpoint of the PyTorch release."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from adatad_jax import cli
from adatad_jax.config.fields import default, make_model
from adatad_jax.config.validation import validate
from adatad_jax.conversion.detector import check_parameters
from adatad_jax.conversion.torch_file import WEIGHT_FILES
from adatad_jax.data.dataset import load_classes
from adatad_jax.data.propose import take_open_fields
from adatad_jax.errors import UserError
from adatad_jax.training import checkpoints
from adatad_jax.weights import detector_store

Params = Any

# Where a checkpoint is read without --config, these are tried; an installed package comes without them.
PUBLISHED = Path(__file__).parents[2] / "configs"
FREE_FIELDS = {"model.dtype", "model.remat"}  # how a model is computed, not what it is


class Trained(NamedTuple):
    """What evaluation and detection need.

    Attributes:
      config: the configuration, of the command if it has one, else of the checkpoint.
      classes: class names.
      params: the parameters of an `AdaTAD`, averaged where trained, on the host.
      name: of the checkpoint among others of its kind: a run's epoch, or the name of a file.
      origin: where the parameters come from, in words.
    """

    config: ConfigDict
    classes: tuple[str, ...]
    params: Params
    name: str
    origin: str


def load_trained(path: Path, config: ConfigDict | None = None, overrides: Sequence[str] = ()) -> Trained:
    """Reads a trained detector.

    Args:
      path: a run's folder (its latest checkpoint is read), a folder written by `convert/pth_to_flax.py`, or a detector
        checkpoint, which is converted by the same code.
      config: of the command; None takes that of the folder or, for a file, the only published one that fits.
      overrides: `--config.FIELD=VALUE`, where a published one is taken.

    Raises:
      UserError: there is no trained detector; the configuration differs from it in a field that makes the model, or
        its sizes are not those of the parameters: each difference is listed.
    """
    if not path.exists():
        raise UserError(f"{path}: no run here and no checkpoint: there is no such file or folder")
    if path.is_file() or any((path / name).is_file() for name in WEIGHT_FILES):
        # torch is imported there.
        from adatad_jax.weights.convert_file import read_detector

        detector, choice = read_detector(path, config, published_configs(), overrides)
        stored = detector_store.Stored(detector.params, detector.ema, {}, path.name)
        origin = f"{path}: {' and '.join(detector.states)}, configuration {choice.words}"
        return Trained(choice.config, choice.classes, stored.averaged(), path.name, origin)
    if overrides and config is None:
        raise UserError(f"{' '.join(overrides)}: to change fields of {path}, give --config too")
    if config is not None and config.propose:
        config = take_open_fields(config, restore_config(checkpoints.read_config(path)[0], path))
    if detector_store.is_converted(path):
        fields, classes = checkpoints.read_config(path)
        own = restore_config(fields, path)
        if config is not None:
            check_model_fields(path, own, config)
            check_classes(path, classes, config)
        config = config or own
        stored = detector_store.load_detector(path)
        params, name, origin = stored.averaged(), stored.source, f"{path}: converted from {stored.source}"
    else:
        fields, classes = checkpoints.read_config(path)
        if config is None:
            config = restore_config(fields, path)
        else:
            checkpoints.check_config(path, config)
            check_classes(path, classes, config)
        params, epoch = checkpoints.restore_averaged(path)
        name, origin = f"epoch {epoch}", f"{path}: epoch {epoch}"
    check_parameters(params, make_model(config, len(classes)), path)
    return Trained(config, classes, params, name, origin)


def published_configs() -> list[Path]:
    """The configuration files of the repository."""
    here = Path.cwd()
    return sorted(path.relative_to(here) if path.is_relative_to(here) else path for path in PUBLISHED.glob("*.py"))


def restore_config(fields: dict[str, object], folder: Path) -> ConfigDict:
    """The configuration of a run or a converted detector from its saved fields, on top of today's defaults.

    Raises:
      UserError: there are fields that this version does not know, or values that cannot work.
    """
    config = default()
    unknown = sorted(set(fields) - set(cli.flatten(config)))
    if unknown:
        raise UserError(
            f"{folder / checkpoints.CONFIG_FILE}: made by another version: unknown configuration fields "
            f"{', '.join(unknown)}"
        )
    try:
        config.update_from_flattened_dict({name: _tuples(value) for name, value in fields.items()})
    except (TypeError, ValueError) as error:
        raise UserError(f"{folder / checkpoints.CONFIG_FILE}: {error}") from error
    validate(config)
    return config


def _tuples(value: object) -> object:
    """JSON's lists as the tuples they were."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def check_classes(folder: Path, classes: tuple[str, ...], config: ConfigDict) -> None:
    """Raises `UserError` if a command's class list, where it names one that is there, is not the folder's."""
    if not Path(config.data.classes).is_file() or config.data.class_agnostic:
        return
    given = load_classes(config)
    if given != classes:
        raise UserError(
            f"{folder}: its classes are {', '.join(classes)}, in this order; config.data.classes="
            f"{config.data.classes!r} has {', '.join(given)}: give the list it was trained with"
        )


def check_model_fields(folder: Path, own: ConfigDict, config: ConfigDict) -> None:
    """Raises `UserError` with every field of the model in which a command's configuration differs from the folder's."""
    before, now = cli.flatten(own), cli.flatten(config)
    different = [
        f"config.{field}={now[field]!r}: the checkpoint has {before[field]!r}"
        for field in before
        if field.startswith("model.") and field not in FREE_FIELDS and before[field] != now[field]
    ]
    if different:
        raise UserError(f"{folder}: holds another model than the configuration:\n  " + "\n  ".join(different))
