"""Whether a saved configuration and class list can be used by this version and agree with those of a command."""

from pathlib import Path

from adatad_jax.config.fields import Config
from adatad_jax.config.load import config_from_fields
from adatad_jax.config.validation import validate
from adatad_jax.data.subset import load_classes
from adatad_jax.errors import UserError
from adatad_jax.weights.run_folder import CONFIG_FILE

MODEL_FREE_FIELDS = {"model.dtype", "model.remat"}  # how a model is computed, not what it is


def restore_config(fields: dict[str, object], folder: Path) -> Config:
    """The configuration of a run or a converted detector from its saved fields, on top of today's defaults.

    Raises:
      UserError: there are fields that this version does not know, or values that cannot work.
    """
    unknown = sorted(set(fields) - set(Config().flat()))
    if unknown:
        raise UserError(
            f"{folder / CONFIG_FILE}: made by another version: unknown configuration fields {', '.join(unknown)}"
        )
    try:
        config = config_from_fields(fields)
    except (TypeError, ValueError) as error:
        raise UserError(f"{folder / CONFIG_FILE}: {error}") from error
    validate(config)
    return config


def check_classes(folder: Path, classes: tuple[str, ...], config: Config) -> None:
    """Raises `UserError` if a command's class list, where it names one that is there, is not the folder's."""
    if not Path(config.data.classes).is_file() or config.data.class_agnostic:
        return
    given = load_classes(config)
    if given != classes:
        raise UserError(
            f"{folder}: its classes are {', '.join(classes)}, in this order; config.data.classes="
            f"{config.data.classes!r} has {', '.join(given)}: give the list it was trained with"
        )


def check_model_fields(folder: Path, own: Config, config: Config) -> None:
    """Raises `UserError` with every field of the model in which a command's configuration differs from the folder's."""
    before, now = own.flat(), config.flat()
    different = [
        f"config.{field}={now[field]!r}: the checkpoint has {before[field]!r}"
        for field in before
        if field.startswith("model.") and field not in MODEL_FREE_FIELDS and before[field] != now[field]
    ]
    if different:
        raise UserError(f"{folder}: holds another model than the configuration:\n  " + "\n  ".join(different))
