"""A trained detector, wherever it lies: a run's folder, a converted one, or a checkpoint of the PyTorch release."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from adatad_jax.config.build import make_model
from adatad_jax.config.fields import Config
from adatad_jax.config.open_fields import take_open_fields
from adatad_jax.conversion.detector import check_parameters
from adatad_jax.conversion.torch_file import WEIGHT_FILES
from adatad_jax.errors import UserError
from adatad_jax.models.layers import Params
from adatad_jax.training import checkpoints
from adatad_jax.training.parameters import merge
from adatad_jax.weights import detector_store
from adatad_jax.weights.frozen import read_frozen
from adatad_jax.weights.restore import check_classes, check_model_fields, restore_config
from adatad_jax.weights.run_folder import check_config, read_config

# Where a checkpoint is read without --config, these are tried; an installed package comes without them.
PUBLISHED = Path(__file__).parents[2] / "configs"


class Trained(NamedTuple):
    """What evaluation and detection need.

    Attributes:
      config: the configuration, of the command if it has one, else of the checkpoint.
      classes: class names.
      params: the parameters of an `AdaTAD`, averaged where trained, on the host.
      name: of the checkpoint among others of its kind: a run's epoch, or the name of a file.
      origin: where the parameters come from, in words.
    """

    config: Config
    classes: tuple[str, ...]
    params: Params
    name: str
    origin: str


def load_trained(path: Path, config: Config | None = None, overrides: Sequence[str] = ()) -> Trained:
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
        config = take_open_fields(config, restore_config(read_config(path)[0], path))
    if detector_store.is_converted(path):
        fields, classes = read_config(path)
        own = restore_config(fields, path)
        if config is not None:
            check_model_fields(path, own, config)
            check_classes(path, classes, config)
        config = config or own
        stored = detector_store.load_detector(path)
        params, name, origin = stored.averaged(), stored.source, f"{path}: converted from {stored.source}"
    else:
        fields, classes = read_config(path)
        if config is None:
            config = restore_config(fields, path)
        else:
            check_config(path, config)
            check_classes(path, classes, config)
        saved = checkpoints.read_latest(path)
        params = merge(saved.average, read_frozen(path, saved))
        name = f"epoch {saved.metadata['epoch']}"
        origin = f"{path}: {name}"
    check_parameters(params, make_model(config, len(classes)), path)
    return Trained(config, classes, params, name, origin)


def published_configs() -> list[Path]:
    """The configuration files of the repository."""
    here = Path.cwd()
    return sorted(path.relative_to(here) if path.is_relative_to(here) else path for path in PUBLISHED.glob("*.py"))
