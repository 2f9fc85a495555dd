"""What adapting the backbone is worth: `python -m benchmarks.ablation`, or `make ablation`. It takes hours.

Trains the demo's detector with the same budget, on each of three seeds, in six ways: with the backbone frozen, with
plain adapters, TIA, side adapters, by full fine-tuning, and with TIA on an untrained backbone. Each seed makes videos
of its own. What is finished is kept below `--workdir` and not trained again: the same command continues. With
`--write`, the tables go into `benchmarks/RESULTS.md`, and a picture into `docs/images/ablation.png`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from adatad_jax import cli
from adatad_jax.console import make_console
from adatad_jax.demo.run import demo_config
from adatad_jax.devices.compilation import keep_compiled
from adatad_jax.devices.launch import require_one_process
from adatad_jax.errors import UserError
from adatad_jax.files import check_output_folder
from benchmarks.ablation.arms import ARMS
from benchmarks.ablation.runs import TURNS, Budget, Outcome, run_all, time_steps
from benchmarks.ablation.written import PICTURE, draw, report
from benchmarks.results import RESULTS, add_write_option, dated, write_between

NAME = "benchmarks.ablation"


def main(arguments: Sequence[str]) -> None:
    """Trains what is left to train, and prints the tables.

    Args:
      arguments: the command line without the program's name.

    Raises:
      UserError: an arm is unknown, a number is impossible, or the folder holds data or runs of another budget.
    """
    require_one_process(NAME)
    args = make_parser().parse_args(arguments)
    arms, seeds = chosen(args.arms), sorted(set(args.seeds))
    if min(seeds) < 0 or min(args.train_videos, args.test_videos) < 1 or (args.epochs or 2) < 2:
        raise UserError("--seeds: expected numbers from 0; --epochs: from 2; --train-videos, --test-videos: from 1")
    check_output_folder(args.workdir, checkpoints=True)
    console, budget = make_console(), Budget(args.epochs, args.train_videos, args.test_videos)
    first = args.workdir / f"seed_{seeds[0]}"
    config = demo_config(first, seeds[0], args.epochs)
    keep_compiled(config.compilation_cache)
    found = list(run_all(arms, seeds, budget, args.workdir, console))
    console.print("timing steps")
    seconds = time_steps(arms, config, first)
    text = "\n\n".join([about(found, budget, config.train.epochs), report(found, seconds)])
    console.print(text)
    if args.write:
        draw(found)
        picture = f"![mAP, memory and trained parameters of each arm](../docs/images/{PICTURE.name})"
        write_between(NAME, f"{dated(NAME)}\n\n{text}\n\n{picture}")
        console.print(f"wrote {RESULTS} and {PICTURE}")


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {NAME}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=Path, default=Path("runs/ablation"), help="folder for all data and runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    parser.add_argument("--arms", metavar="ARMS", help=f"of {','.join(ARMS)}, with commas between; default: all")
    parser.add_argument("--epochs", type=int, help="instead of the demo's")
    parser.add_argument("--train-videos", type=int, default=320, help="of each seed; default: the demo's 320")
    parser.add_argument("--test-videos", type=int, default=40, help="of each seed; default: the demo's 40")
    add_write_option(parser)
    return parser


def chosen(text: str | None) -> tuple[str, ...]:
    """Reads a list of arms; raises `UserError` if one is unknown. None stands for all."""
    names = tuple(ARMS) if text is None else tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in ARMS]
    if unknown or not names:
        raise UserError(f"--arms {text}: unknown {', '.join(unknown) or 'nothing'}; expected of {', '.join(ARMS)}")
    return tuple(arm for arm in ARMS if arm in names)


def about(found: Sequence[Outcome], budget: Budget, epochs: int) -> str:
    """Returns what was trained, as text."""
    seeds = len({one.seed for one in found})
    return (
        f"The demo's detector and data: {budget.train_videos} training and {budget.test_videos} test videos, {epochs} "
        f"epochs, {seeds} {'seeds' if seeds > 1 else 'seed'}, of which each has videos, first parameters and draws "
        "of its own. mAP in percent; mean, and in brackets the least and the greatest over seeds. Memory is of "
        "the compiled training step (arguments, temporaries and outputs) with all activations kept; the time of a step "
        f"is the median of {TURNS}, of all arms in turns."
    )


def entry() -> None:
    """Runs the command line."""
    cli.run(main)


if __name__ == "__main__":
    entry()
