"""Common parts of all commands: arguments, the configuration file with its overrides, and errors as messages."""

import argparse
import inspect
import io
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, TypeVar

from adatad_jax.annotations.format_keys import AUTO, KEYS
from adatad_jax.annotations.records import Options, finite_number
from adatad_jax.config.fields import Config
from adatad_jax.config.load import load_config
from adatad_jax.config.records import Record, fields_of
from adatad_jax.console import PrintedWarnings, warnings_to
from adatad_jax.devices.compilation import collect_less
from adatad_jax.devices.faults import faults_explained
from adatad_jax.errors import Exit, Left, UserError
from adatad_jax.training.retention import BEST, LATEST, Choice

HELP_WIDTH, INDENT = 110, "      "
RecordT = TypeVar("RecordT", bound=Record)


def run(main: Callable[[Sequence[str]], None]) -> None:
    """Runs a command on the arguments of the command line, and exits with a code if it fails.

    A `UserError` is printed as its message and exits with its code; so do faults of the machine (`devices.faults`).
    docs/training.md has the table of exit codes.

    Args:
      main: the command; takes the arguments without the program's name.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # the terminal's encoding may lack characters of a name
        sys.stdout.reconfigure(errors="backslashreplace")
    collect_less()
    try:
        with warnings_to(PrintedWarnings()), faults_explained():
            main(sys.argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Left:
        _end(Exit.CONTINUE)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        _end(Exit.INTERRUPTED)
    except BrokenPipeError:  # the program that reads the output has ended, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.PARTLY)


def _end(code: Exit) -> NoReturn:
    """Ends the process at once: threads that still compile would crash in JAX's shutdown, and others delay the end."""
    with suppress(OSError):  # a pipe that nobody reads any more
        sys.stdout.flush()
    os._exit(code)


def config_parser(
    description: str, required: bool = True, kind: type[Record] = Config, example: str = "thumos_s"
) -> argparse.ArgumentParser:
    """Makes a parser with `--config` and `--workdir`, whose help explains every field of a configuration.

    Args:
      description: of the command.
      required: whether `--config` must be given.
      kind: of the configuration.
      example: of a configuration's name, for the help.
    """
    parser = argparse.ArgumentParser(
        description=description,
        epilog=describe_fields(kind),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config", required=required, type=Path, help=f"configuration file, such as configs/{example}.py"
    )
    parser.add_argument(
        "--workdir", type=Path, help="folder of the run, or gs://, s3:// (default: runs/NAME_OF_CONFIG)"
    )
    return parser


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> tuple[argparse.Namespace, Config]:
    """Parses the arguments of a command on a detector; see `parse_with`."""
    return parse_with(parser, arguments, load_config)


def parse_with(
    parser: argparse.ArgumentParser, arguments: Sequence[str], load: Callable[[Path, Sequence[str]], RecordT]
) -> tuple[argparse.Namespace, RecordT]:
    """Parses arguments, reads the configuration with its overrides, and sets the default workdir.

    Args:
      parser: from `config_parser`.
      arguments: without the program's name.
      load: reads a configuration file with overrides.

    Raises:
      UserError: as `load`.
      SystemExit: the arguments are wrong.
    """
    args, overrides = parse_overrides(parser, arguments)
    config = load(args.config, overrides)
    if args.workdir is None:
        args.workdir = Path("runs") / args.config.stem
    return args, config


def parse_overrides(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Parses arguments, and returns the `--config.FIELD=VALUE` among them unparsed.

    Args:
      parser: from `config_parser`.
      arguments: without the program's name.

    Raises:
      SystemExit: the arguments are wrong.
    """
    args, overrides = parser.parse_known_args(arguments)
    stray = [argument for argument in overrides if not argument.startswith("--config.")]
    if stray:
        parser.error(f"unrecognized arguments: {' '.join(stray)}")
    return args, overrides


def add_reading_options(group: argparse._ActionsContainer) -> None:
    """Adds the options that say how to read annotations: `--format`, `--label-from`, `--point-seconds`."""
    group.add_argument(
        "--format",
        choices=KEYS,
        metavar="FORMAT",
        help=f"of the annotations, where their content does not tell: {', '.join(KEYS)}",
    )
    group.add_argument(
        "--label-from",
        metavar="WHAT",
        help="what gives the labels where annotations have several: action, verb or noun (EPIC-Kitchens), value or "
        "tier (ELAN), an attribute (VIA)",
    )
    group.add_argument(
        "--point-seconds",
        type=positive_number,
        metavar="SECONDS",
        help="length of the segment around a point event; without it, point events are refused",
    )


def reading_options(args: argparse.Namespace) -> Options:
    """Returns what the options of `add_reading_options` say."""
    return Options(args.format or AUTO, args.label_from or "", args.point_seconds or 0.0)


def add_step_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--step`, which says which checkpoint of a run is read."""
    parser.add_argument(
        "--step",
        type=checkpoint_choice,
        default=LATEST,
        metavar=f"N|{BEST}|{LATEST}",
        help=f"checkpoint of a run: that of step N, the {BEST} of its evaluations, or the {LATEST} (default)",
    )


def checkpoint_choice(text: str) -> Choice:
    """Reads an argument that is a step, `best` or `latest`; raises `argparse.ArgumentTypeError` for anything else."""
    if text in (BEST, LATEST):
        return text
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f'"{text}": expected a number of steps, {BEST} or {LATEST}')
    return int(text)


def any_number(text: str) -> float:
    """Reads an argument that is a finite number; raises `argparse.ArgumentTypeError` for anything else."""
    number = finite_number(text)
    if number is None:
        raise argparse.ArgumentTypeError(f'"{text}": expected a number')
    return number


def positive_number(text: str) -> float:
    """Reads an argument that is a finite number above 0; raises `argparse.ArgumentTypeError` for anything else."""
    number = finite_number(text)
    if number is None or number <= 0:
        raise argparse.ArgumentTypeError(f'"{text}": expected a number above 0')
    return number


def positive_count(text: str) -> int:
    """Reads an argument that is a whole number above 0; raises `argparse.ArgumentTypeError` for anything else."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f'"{text}": expected a whole number above 0')
    return int(text)


def describe_fields(kind: type[Record] = Config) -> str:
    """Describes every field of a kind of configuration by section: default, meaning, type and allowed values."""
    defaults = kind()
    lines = ["fields of a configuration, with their defaults:"]
    section = ""
    for name, value, setting in fields_of(defaults):
        if section != (section := name.rpartition(".")[0]):
            lines += ["", f"{section}: {inspect.getdoc(type(getattr(defaults, section)))}"]
        type_name = "text" if isinstance(value, str) else type(value).__name__
        if setting.or_auto is not None:  # what is expected names the types
            type_name = ""
        about = ", ".join(part for part in (type_name, setting.expected) if part)
        lines.append(f"  --config.{name}={value!r}")
        lines += textwrap.wrap(
            f"{setting.meaning} ({about})", HELP_WIDTH, initial_indent=INDENT, subsequent_indent=INDENT
        )
    return "\n".join(lines)
