"""A configuration file, run with the fields that the command line sets."""

from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from adatad_jax.config.validation import validate
from adatad_jax.errors import UserError


def load_config(path: Path, overrides: Sequence[str] = ()) -> ConfigDict:
    """Runs a configuration file's `get_config()` and applies `--config.FIELD=VALUE` overrides; see `parse`."""
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise UserError(f"--config={path}: {what}, expected a Python file; the published ones are in configs/")
    values = flags.FlagValues()
    argv = ["adatad", f"--config={path}", *overrides]
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    try:
        values(argv)
        config = values["config"].value
    except UserError:
        raise
    except (AttributeError, KeyError) as error:
        reason = _one_line(error)
        raise UserError(f"--config={path} {' '.join(overrides)}: no such field: {reason}; --help lists all") from error
    # The file is the user's code: whatever it raises is theirs to read.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(f"--config={path} {' '.join(overrides)}: {type(error).__name__}: {reason}") from error
    if not isinstance(config, ConfigDict):
        raise UserError(f"--config={path}: get_config() returned {type(config).__name__}, expected a ConfigDict")
    validate(config)
    return config


def _one_line(error: Exception) -> str:
    return " ".join(str(error.args[0] if error.args else error).split())
