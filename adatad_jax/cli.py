"""What the entry points share: arguments, the config file with its overrides, and how errors reach the user."""

import argparse
import atexit
import inspect
import io
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from adatad_jax.config.fields import Config, fields_of
from adatad_jax.config.load import load_config
from adatad_jax.console import PrintedWarnings, warnings_to
from adatad_jax.errors import UserError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
HELP_WIDTH, INDENT = 110, "      "


def run(main: Callable[[Sequence[str]], None]) -> None:
    """Runs an entry point on the command line's arguments; a `UserError` becomes its message and exit code 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the terminal's encoding lacks stops nothing
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with warnings_to(PrintedWarnings()):
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


def _leave() -> None:
    """Ends the process before JAX takes itself down, which it does while threads of it still compile: they crash."""
    sys.stdout.flush()
    os._exit(EXIT_INTERRUPTED)


def config_parser(description: str, required: bool = True) -> argparse.ArgumentParser:
    """Returns a parser with `--config`, whose help explains every field that `--config.FIELD=VALUE` can set."""
    parser = argparse.ArgumentParser(
        description=description,
        epilog=describe_fields(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config", required=required, type=Path, help="configuration file, such as configs/thumos_s.py"
    )
    parser.add_argument("--workdir", type=Path, help="folder of the run (default: runs/NAME_OF_CONFIG)")
    return parser


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> tuple[argparse.Namespace, Config]:
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


def describe_fields() -> str:
    """Returns a text on every field of a configuration: default, type, values it takes, and meaning, by section."""
    lines = ["fields of a configuration, with their defaults:"]
    section = ""
    for name, value, setting in fields_of(Config()):
        if section != (section := name.rpartition(".")[0]):
            lines += ["", f"{section}: {inspect.getdoc(type(getattr(Config(), section)))}"]
        kind = {"str": "text", "tuple": "tuple"}.get(type(value).__name__, type(value).__name__)
        about = ", ".join(part for part in (kind, setting.expected) if part)
        lines.append(f"  --config.{name}={value!r}")
        lines += textwrap.wrap(
            f"{setting.meaning} ({about})", HELP_WIDTH, initial_indent=INDENT, subsequent_indent=INDENT
        )
    return "\n".join(lines)
