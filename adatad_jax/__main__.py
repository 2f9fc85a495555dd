"""Lists the commands and runs one: `python -m adatad_jax COMMAND ...`, or `adatad COMMAND ...`.

Each is a module with a `main(arguments)` of its own, which is imported only when it is asked for.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

from adatad_jax import cli


class Command(NamedTuple):
    """A command: the module that holds its `main`, and a line of help."""

    module: str
    help: str


COMMANDS = {
    "train": Command("adatad_jax.train", "train a detector, or continue a run"),
    "pretrain": Command("adatad_jax.pretrain", "pre-train an encoder by masking, on videos without labels"),
    "finetune": Command("adatad_jax.finetune", "fine-tune an encoder to classify clips"),
    "classify": Command("adatad_jax.classify", "say what a classifier sees in videos"),
    "evaluate": Command("adatad_jax.evaluate", "measure a detector, or the detections of any tool"),
    "detect": Command("adatad_jax.detect", "find actions in videos"),
    "prepare": Command("adatad_jax.prepare", "decode a data set once, into a cache of frames"),
    "doctor": Command("adatad_jax.doctor", "check a data set before a run"),
    "annotations": Command("adatad_jax.annotations.__main__", "convert annotations, from and to labelling tools"),
    "convert": Command("adatad_jax.commands.convert", "convert a PyTorch checkpoint to Flax parameters"),
    "export": Command("adatad_jax.commands.export", "write a trained model for PyTorch"),
    "demo": Command("adatad_jax.demo.run", "train, evaluate and detect on generated videos"),
}


def main(arguments: Sequence[str]) -> None:
    """Runs the command that the first argument names on the others."""
    width = max(map(len, COMMANDS))
    parser = argparse.ArgumentParser(
        prog="adatad",
        description="Temporal action detection in long, untrimmed videos.",
        epilog="\n".join(
            [
                "commands:",
                *(f"  {name:{width}s}  {command.help}" for name, command in COMMANDS.items()),
                "",
                "adatad COMMAND --help says what a command takes.",
            ]
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", choices=COMMANDS, metavar="COMMAND", help="one of those below")
    name = parser.parse_args(arguments[:1]).command
    if name is None:
        parser.print_help()
        return
    sys.argv[0] = f"adatad {name}"  # the name in the command's own help
    importlib.import_module(COMMANDS[name].module).main(arguments[1:])


def entry() -> None:
    """Runs the console script."""
    cli.run(main)


if __name__ == "__main__":
    entry()
