"""Reading of a trained detector from a run's folder, a converted folder, or a checkpoint of the PyTorch release."""

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
from adatad_jax.training.choosing import origin, read_chosen
from adatad_jax.training.parameters import merge
from adatad_jax.training.retention import LATEST, Choice
from adatad_jax.weights import detector_store
from adatad_jax.weights.frozen import read_frozen
from adatad_jax.weights.restore import check_classes, check_model_fields, restore_config
from adatad_jax.weights.run_folder import MEMORY_FIELDS, check_config, read_config

# These configurations are tried for a checkpoint without --config. An installed package has none of them.
PUBLISHED = Path(__file__).parents[2] / "configs"
ON_CLIPS = ("pretrain_", "finetune_")  # how files of configurations begin that are not of detectors


class Trained(NamedTuple):
    """What evaluation and detection need of a trained detector.

    Attributes:
      config: the command's configuration if there is one, else the checkpoint's.
      classes: the K class names, in the order of the model's outputs.
      params: the parameters of an `AdaTAD` on the host; trained ones are averages.
      name: tells the checkpoint from others of its kind: a run's step and epoch, or a file's name.
      origin: where the parameters come from, as text.
    """

    config: Config
    classes: tuple[str, ...]
    params: Params
    name: str
    origin: str


def load_trained(
    path: Path, config: Config | None = None, overrides: Sequence[str] = (), step: Choice = LATEST
) -> Trained:
    """Reads a trained detector.

    Args:
      path: a run's folder, a folder that `convert/pth_to_flax.py` has written, or a detector checkpoint of the PyTorch
        release, which is converted by the same code.
      config: of the command; None takes the folder's, the file's own, or the only published one that fits the file.
      overrides: `--config.FIELD=VALUE`, applied to published configurations.
      step: which checkpoint of a run, as for `read_chosen`.

    Raises:
      UserError: there is no trained detector, or it does not fit the configuration: a field that determines the model
        or the size of a parameter differs. Each difference is listed.
    """
    if not path.exists():
        raise UserError(f"{path}: no run here and no checkpoint: there is no such file or folder")
    is_file = path.is_file() or any((path / name).is_file() for name in WEIGHT_FILES)
    if step != LATEST and (is_file or detector_store.is_converted(path)):
        raise UserError(f"{path}: no run, but one detector: a step ({step}) can be chosen of a run alone")
    if is_file:
        # Imported here, because this module imports torch.
        from adatad_jax.weights.convert_file import read_detector

        detector, choice = read_detector(path, config, published_configs(), overrides)
        stored = detector_store.StoredDetector(detector.params, detector.ema, {}, path.name)
        source = f"{path}: {' and '.join(detector.states)}, configuration {choice.words}"
        return Trained(choice.config, choice.classes, stored.averaged(), path.name, source)
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
        config = config or as_default(own)
        stored = detector_store.load_detector(path)
        params, name, source = stored.averaged(), stored.source, f"{path}: converted from {stored.source}"
    else:
        fields, classes = read_config(path)
        if config is None:
            config = as_default(restore_config(fields, path))
        else:
            check_config(path, config)
            check_classes(path, classes, config)
        saved = read_chosen(path, step)
        params = merge(saved.average, read_frozen(path, saved))
        name = origin(path, saved)
        source = f"{path}: {name}"
    check_parameters(params, make_model(config, len(classes)), path)
    return Trained(config, classes, params, name, source)


def as_default(config: Config) -> Config:
    """Returns a configuration with the default settings of memory: they were chosen for the device of the training."""
    default = Config().flat()
    return config.with_fields({name: default[name] for name in MEMORY_FIELDS})


def published_configs() -> list[Path]:
    """Returns the detectors' configuration files of the repository, relative to the working folder if possible."""
    here = Path.cwd()
    found = sorted(path for path in PUBLISHED.glob("*.py") if not path.name.startswith(ON_CLIPS))
    return [path.relative_to(here) if path.is_relative_to(here) else path for path in found]
