"""What the entry points share: arguments, the config file with its overrides, and how errors reach the user."""

import argparse
import atexit
import io
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
from absl import flags
from ml_collections import ConfigDict, config_flags
from rich.console import Console

from adatad_jax.config import fields as configuration
from adatad_jax.config.validation import validate
from adatad_jax.errors import UserError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def run(main: Callable[[Sequence[str]], None]) -> None:
    """Runs an entry point on the command line's arguments; a `UserError` becomes its message and exit code 2."""
    logger = logging.getLogger("adatad_jax")
    before = logger.handlers, logger.propagate
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the terminal's encoding lacks stops nothing
        sys.stdout.reconfigure(errors="backslashreplace")
    logger.handlers, logger.propagate = [_Warnings(logging.WARNING)], False
    try:
        main(sys.argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        atexit.register(_leave)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:  # whatever read our output has ended, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    finally:
        logger.handlers, logger.propagate = before


def _leave() -> None:
    """Ends the process before JAX takes itself down, which it does while threads of it still compile: they crash."""
    sys.stdout.flush()
    os._exit(EXIT_INTERRUPTED)


class _Warnings(logging.Handler):
    """Prints warnings of the package, each once: annotations are read again for every subset."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self._said:
            self._said.add(text)
            print(f"warning: {text}", file=sys.stderr)


def make_console() -> Console:
    """Where entry points report: text as it is (a path may hold brackets), never broken where it could be copied."""
    return Console(markup=False, highlight=False, soft_wrap=True)


def config_parser(description: str, required: bool = True) -> argparse.ArgumentParser:
    """A parser with `--config`, whose help lists every field that `--config.FIELD=VALUE` can set."""
    fields = "\n".join(f"  --config.{name}={value!r}" for name, value in flatten(configuration.default()).items())
    parser = argparse.ArgumentParser(
        description=description,
        epilog=f"fields of a configuration, with defaults (adatad_jax/config/fields.py says what each is):\n{fields}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config", required=required, type=Path, help="configuration file, such as configs/thumos_s.py"
    )
    parser.add_argument("--workdir", type=Path, help="folder of the run (default: runs/NAME_OF_CONFIG)")
    return parser


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> tuple[argparse.Namespace, ConfigDict]:
    """Parses arguments and the configuration with its overrides; sets the default workdir.

    Raises:
      UserError: the file is missing or fails, a field does not exist or has another type, or its values cannot work.
    """
    args, overrides = parse_overrides(parser, arguments)
    config = load_config(args.config, overrides)
    if args.workdir is None:
        args.workdir = Path("runs") / args.config.stem
    return args, config


def parse_overrides(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Parses arguments; the `--config.FIELD=VALUE` among them come back as they are."""
    args, overrides = parser.parse_known_args(arguments)
    stray = [argument for argument in overrides if not argument.startswith("--config.")]
    if stray:
        parser.error(f"unrecognized arguments: {' '.join(stray)}")
    return args, overrides


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


def flatten(config: ConfigDict, prefix: str = "") -> dict[str, object]:
    """Dotted field -> value of every leaf."""
    leaves: dict[str, object] = {}
    for name, value in config.items():
        leaves |= flatten(value, f"{prefix}{name}.") if isinstance(value, ConfigDict) else {f"{prefix}{name}": value}
    return leaves


def set_precision(dtype: str) -> None:
    """float32 means float32: GPUs and TPUs would silently use TF32 or bfloat16 products."""
    if dtype == "float32":
        jax.config.update("jax_default_matmul_precision", "highest")
