"""Saved configurations and class lists: restored for this version, and compared with those of a command."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from adatad_jax.config.fields import Config
from adatad_jax.config.load import record_from_fields
from adatad_jax.config.open_fields import take_open_fields
from adatad_jax.config.records import Record
from adatad_jax.config.validation import validate
from adatad_jax.data.subset import load_classes
from adatad_jax.errors import UserError
from adatad_jax.weights.run_folder import CONFIG_FILE, MEMORY_FIELDS, read_config

RecordT = TypeVar("RecordT", bound=Record)

# How a model is computed, not what it is.
MODEL_FREE_FIELDS = {"model.dtype", "model.frozen_dtype", "model.stream_dtype", *MEMORY_FIELDS}


def restore_config(fields: Mapping[str, Any], folder: Path) -> Config:
    """Restores the configuration of a detector's run, or of a converted detector; see `restore_record`."""
    return restore_record(fields, folder, Config, validate)


def restore_record(
    fields: Mapping[str, Any], folder: Path, kind: type[RecordT], check: Callable[[RecordT], None]
) -> RecordT:
    """Restores a saved configuration; fields that were not saved have today's defaults.

    Args:
      fields: dotted field -> value, as JSON holds it.
      folder: where the configuration was saved, for messages.
      kind: of the configuration.
      check: raises `UserError` if values are invalid.

    Raises:
      UserError: a field is unknown to this version, or a value is invalid.
    """
    unknown = sorted(set(fields) - set(kind().flat()))
    if unknown:
        raise UserError(
            f"{folder / CONFIG_FILE}: made by another version: unknown configuration fields {', '.join(unknown)}"
        )
    try:
        config = record_from_fields(fields, kind)
    except (TypeError, ValueError) as error:
        raise UserError(f"{folder / CONFIG_FILE}: {error}") from error
    check(config)
    return config


def keep_open_fields(config: Config, workdir: Path) -> Config:
    """Fills the fields that a configuration leaves open as the run in its folder has them, if it holds one.

    What was chosen for the data stays so when the data grow.

    Args:
      config: of the command.
      workdir: the folder, which need not exist.

    Raises:
      UserError: the run's configuration is damaged, or of another version.
    """
    if not config.propose or not (workdir / CONFIG_FILE).is_file():
        return config
    return take_open_fields(config, restore_config(read_config(workdir)[0], workdir))


def check_classes(folder: Path, classes: tuple[str, ...], config: Config) -> None:
    """Checks that a command's class list, if it names one that exists, equals the folder's.

    Args:
      folder: of the trained detector, for messages.
      classes: that it was trained with.
      config: of the command.

    Raises:
      UserError: the class lists differ.
    """
    if not Path(config.data.classes).is_file() or config.data.class_agnostic:
        return
    given = load_classes(config)
    if given != classes:
        raise UserError(
            f"{folder}: its classes are {', '.join(classes)}, in this order; config.data.classes="
            f"{config.data.classes!r} has {', '.join(given)}: give the list it was trained with"
        )


def check_model_fields(folder: Path, own: Config, config: Config) -> None:
    """Checks that a command's configuration describes the same model as the folder's.

    Args:
      folder: of the trained detector, for messages.
      own: the folder's configuration.
      config: of the command.

    Raises:
      UserError: fields of the model differ; all of them are listed.
    """
    before, now = own.flat(), config.flat()
    different = [
        f"config.{field}={now[field]!r}: the checkpoint has {before[field]!r}"
        for field in before
        if field.startswith("model.") and field not in MODEL_FREE_FIELDS and before[field] != now[field]
    ]
    if different:
        raise UserError(f"{folder}: holds a different model from the configuration's:\n  " + "\n  ".join(different))
