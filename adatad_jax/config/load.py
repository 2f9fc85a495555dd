"""Reading of configurations: from a configuration file and the command line, or from saved fields."""

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any, TypeVar

from absl import flags
from ml_collections import ConfigDict, config_flags

from adatad_jax.config.fields import Config
from adatad_jax.config.records import Record, defaults_of
from adatad_jax.config.validation import validate
from adatad_jax.errors import UserError

RecordT = TypeVar("RecordT", bound=Record)


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Reads a detector's configuration; see `load_record`."""
    return load_record(path, overrides, Config, validate)


def load_record(path: Path, overrides: Sequence[str], kind: type[RecordT], check: Callable[[RecordT], None]) -> RecordT:
    """Reads a configuration of one kind; see `load_one_of`."""
    config = load_one_of(path, overrides, {kind: check})
    assert isinstance(config, kind)
    return config


def load_one_of(path: Path, overrides: Sequence[str], kinds: Mapping[type[Record], Callable[[Any], None]]) -> Record:
    """Runs a configuration file's `get_config()` and applies overrides of single fields.

    Args:
      path: the Python file.
      overrides: `--config.FIELD=VALUE`.
      kinds: kind of configuration -> its check, which raises `UserError` if values are invalid. Of several kinds, the
        file is of that which has most of its fields.

    Raises:
      UserError: the file is missing or raises an exception, a field does not exist or has another type, or a value is
        invalid.
    """
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise UserError(f"--config={path}: {what}, expected a Python file; the published ones are in configs/")
    where = " ".join([f"--config={path}", *overrides])
    values = flags.FlagValues()
    try:
        filled = _run(path)
        if not isinstance(filled, ConfigDict):
            raise UserError(f"--config={path}: get_config() returned {type(filled).__name__}, expected a ConfigDict")
        argv = ["adatad", *overrides]
        config_flags.DEFINE_config_dict("config", filled, flag_values=values, sys_argv=argv)
        values(argv)
        given = values["config"].value
        kind = max(kinds, key=lambda kind: kind.known(given))
        config = kind.of(given)
    except UserError:
        raise
    except (AttributeError, KeyError) as error:
        reason = " ".join(str(error.args[0] if error.args else error).split())
        raise UserError(f"{where}: no such field: {reason}; --help lists all") from error
    # The file is the user's code, so any exception of it is for the user to read.
    except Exception as error:
        raise UserError(f"{where}: {type(error).__name__}: {' '.join(str(error).split())}") from error
    kinds[kind](config)
    return config


def record_from_fields(fields: Mapping[str, Any], kind: type[RecordT]) -> RecordT:
    """Returns the configuration of saved fields, without validation; other fields have today's defaults.

    Args:
      fields: dotted field -> value, as JSON holds it.
      kind: of the configuration.

    Raises:
      TypeError, ValueError, KeyError: a field does not exist or has another type.
    """
    values = defaults_of(kind)
    values.update_from_flattened_dict({name: _tuples(value) for name, value in fields.items()})
    return kind.of(values)


def _run(path: Path) -> Any:
    """Returns what the file's `get_config()` returns."""
    name = "adatad_config"
    loader = SourceFileLoader(name, str(path))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None  # there is a loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where a dataclass in the file looks up its annotations
    loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise UserError(f"--config={path}: has no function get_config(), expected one that returns the configuration")
    return module.get_config()


def _tuples(value: Any) -> Any:
    """Converts JSON's lists back to tuples, at any depth."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
