"""Kills a training, and asks it to leave, at random moments: `python -m benchmarks.kills [--kills 20] [--terms 20]`.

One training runs undisturbed. Another one, in its own folder, is struck: kill -9 or SIGTERM as Python starts, in the
setup, in steps, in saves and in evaluations, each followed by a restart with the same command. At the end its last
checkpoint and its history must be those of the first one, bit by bit, but for seconds. If it is done before it was
struck so often, the strikes go on in another folder.

The detector is the demo's, on a small data set; with --pretrain, a small masked autoencoder learns from its videos. All
processes share the programs that JAX compiles. The exit code is 1 if anything differs, if a phase was never struck, if
a SIGTERM ends with another code than 75 (while Python starts: that of any program), takes more than `train.grace`
seconds, or costs over one step.
"""

import argparse
import os
import random
import shutil
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from adatad_jax.console import make_console
from adatad_jax.demo.run import CONFIG, make_data
from adatad_jax.errors import Exit
from benchmarks.kills.compare import differences
from benchmarks.kills.runs import Struck, Training, draw_moments
from benchmarks.kills.watched import ENDING, PHASES, STARTING
from benchmarks.results import add_write_option, dated, write_between

GRACE = 30.0
PRETRAINING = Path("configs/pretrain_s.py")
# A pre-training that takes seconds.
SMALL = {
    "data.stride": 2,
    "data.clips": 2,
    "data.short_side": 52,
    "data.crop": 48,
    "data.in_memory": True,
    "data.threads": 2,
    "model.size": "tiny",
    "model.image_size": 48,
    "model.mask_ratio": 0.6,
    "model.dtype": "float32",
    "train.batch_size": 4,
}
NAMES = {signal.SIGKILL: "kill -9", signal.SIGTERM: "SIGTERM"}


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser of the command line."""
    parser = argparse.ArgumentParser(description="Kill a training at random moments, and compare how it ends.")
    parser.add_argument("--workdir", type=Path, default=Path("runs/kills"), help="folder, cleared at the start")
    parser.add_argument("--kills", type=int, default=20, help="number of kill -9 (default: 20)")
    parser.add_argument("--terms", type=int, default=20, help="number of SIGTERM (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the data and of the moments")
    parser.add_argument("--train-videos", type=int, default=32)
    parser.add_argument("--test-videos", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--checkpoint-steps", type=int, default=3, help="steps between checkpoints inside an epoch")
    parser.add_argument("--pretrain", action="store_true", help="kill a masked pre-training on the same videos instead")
    add_write_option(parser)
    return parser


def arguments_of(args: argparse.Namespace) -> list[str]:
    """Returns the arguments of `adatad`, without the folder."""
    data = args.workdir / "data"
    if args.pretrain:
        return _arguments("pretrain", PRETRAINING, {**SMALL, **_often(args), "data.videos": data / "videos"})
    fields = {
        "weights": args.workdir / "weights",
        "data.videos": data / "videos",
        "data.annotations": data / "annotations.json",
        "data.classes": data / "classes.txt",
        **_often(args),
    }
    return _arguments("train", CONFIG, fields)


def _often(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the fields that make short epochs end in a checkpoint and an evaluation each."""
    return {
        "seed": args.seed,
        "train.epochs": args.epochs,
        "train.schedule_epochs": args.epochs,
        "train.warmup_epochs": 1,
        "train.checkpoint_every": 1,
        "train.checkpoint_steps": args.checkpoint_steps,
        "train.eval_from": 1,
        "train.eval_every": 1,
        "train.grace": GRACE,
    }


def _arguments(command: str, config: Path, fields: Mapping[str, Any]) -> list[str]:
    return [command, "--config", str(config), *(f"--config.{name}={value}" for name, value in fields.items())]


def strike(args: argparse.Namespace, console: Console) -> tuple[list[Struck], list[str], int]:
    """Trains undisturbed, then under strikes.

    Returns:
      What each strike did, what differs between the runs, and in how many folders trainings were struck.
    """
    console.print(f"data and weights into {args.workdir}")
    shutil.rmtree(args.workdir, ignore_errors=True)
    args.workdir.mkdir(parents=True)
    make_data(args.workdir, args.seed, args.train_videos, args.test_videos, console)
    compiled = {"JAX_COMPILATION_CACHE_DIR": str(args.workdir / "compiled")}
    environment = {**os.environ, **compiled, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    clock = time.monotonic()
    reference = Training(args.workdir / "undisturbed", arguments_of(args), environment)
    code, spans = reference.measure()
    if code:
        raise SystemExit(f"the undisturbed training ended with code {code}; see {reference.output}")
    lengths = ", ".join(f"{phase} {spans[phase]:.2f}" for phase in PHASES if phase in spans)
    console.print(
        f"undisturbed: {reference.saved()} steps in {time.monotonic() - clock:.0f} s; seconds of a stay: {lengths}"
    )
    struck, differing, folder = list[Struck](), list[str](), 1
    moments = draw_moments(args.kills, args.terms, random.Random(args.seed))
    run, clock = Training(args.workdir / f"struck-{folder}", arguments_of(args), environment), time.monotonic()
    while len(struck) < len(moments):
        found = run.start(moments[len(struck)], spans)
        if found.moment is not None:
            struck.append(found)
            left = (time.monotonic() - clock) / len(struck) * (len(moments) - len(struck))
            console.print(
                f"{len(struck)}/{len(moments)}  {NAMES[found.moment.signal]} in {found.phase}: code {found.code} in "
                f"{found.seconds:.2f} s, {found.again} steps again from step {run.saved()}; ETA {left / 60:.0f} min"
            )
        elif found.code:
            differing.append(f"{run.folder}: ended by itself with code {found.code}: {found.said}")
            break
        else:
            differing += [f"{run.folder}: {text}" for text in differences(reference.folder, run.folder)]
            folder += 1
            console.print(f"{run.folder} is done; on in another folder")
            run = Training(args.workdir / f"struck-{folder}", arguments_of(args), environment)
    if not differing:
        found = run.start(None, spans)
        differing += [f"{run.folder}: code {found.code}: {found.said}"] if found.code else []
        differing += [f"{run.folder}: {text}" for text in differences(reference.folder, run.folder)]
    return struck, differing, folder


def wrong_ends(struck: Sequence[Struck]) -> list[str]:
    """Lists the ends that are not as documented."""
    wrong = []
    for number, one in enumerate(struck, 1):
        assert one.moment is not None
        allowed = {-one.moment.signal}
        if one.moment.signal is signal.SIGTERM and one.phase != STARTING:
            allowed = {int(Exit.CONTINUE)} | ({int(Exit.DONE), -signal.SIGTERM} if one.phase == ENDING else set())
            if one.again > 1:
                wrong.append(f"strike {number}: {one.again} steps again after SIGTERM in {one.phase}")
            if one.seconds > GRACE + 1:
                wrong.append(f"strike {number}: {one.seconds:.1f} s to leave in {one.phase}")
        if one.code not in allowed:
            wrong.append(f"strike {number}: code {one.code} after {one.moment.signal.name} in {one.phase}: {one.said}")
    return wrong


def unstruck(struck: Sequence[Struck]) -> list[str]:
    """Lists where a signal was to strike, and never did."""
    planned = {(one.moment.signal, one.moment.phase) for one in struck if one.moment}
    done = {(one.moment.signal, one.phase) for one in struck if one.moment}
    return sorted(f"{NAMES[number]} never struck in {phase}" for number, phase in planned - done)


def rows_of(struck: Sequence[Struck]) -> list[tuple[str, ...]]:
    """Returns a row for each signal and phase, below a row of titles."""
    rows: list[tuple[str, ...]] = [("signal", "phase", "strikes", "exit codes", "seconds to end", "steps again")]
    for number, name in NAMES.items():
        for phase in PHASES:
            own = [one for one in struck if one.moment and one.moment.signal is number and one.phase == phase]
            if own:
                codes = Counter(one.code for one in own)
                seconds = [one.seconds for one in own]
                rows.append(
                    (
                        name,
                        phase,
                        str(len(own)),
                        ", ".join(f"{count} x {code}" for code, count in sorted(codes.items())),
                        f"{statistics.median(seconds):.2f}, at most {max(seconds):.2f}",
                        f"at most {max(one.again for one in own)}",
                    )
                )
    return rows


def main() -> None:
    """Strikes as often as asked, prints what happened, and ends with code 1 if anything was lost."""
    args = make_parser().parse_args()
    console, clock = make_console(), time.monotonic()
    struck, differing, folders = strike(args, console)
    titles, *rows = rows_of(struck)
    table = Table(*titles)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    wrong = [*wrong_ends(struck), *unstruck(struck), *differing]
    for line in wrong:
        console.print(line)
    terms = [one for one in struck if one.moment and one.moment.signal is signal.SIGTERM]
    runs, minutes = "one run" if folders == 1 else f"{folders} runs", (time.monotonic() - clock) / 60
    summary = (
        f"{len(struck) - len(terms)} kill -9 and {len(terms)} SIGTERM, {len(struck)} restarts of {runs} in "
        f"{minutes:.1f} min: last checkpoint and history "
        f"{'differ' if differing else 'bit-identical'}; at most {max((one.again for one in terms), default=0)} steps "
        f"again and {max((one.seconds for one in terms), default=0):.1f} s to leave after SIGTERM"
    )
    console.print(summary)
    if args.write:
        lines = [f"| {' | '.join(cells)} |" for cells in (titles, ["---"] * len(titles), *rows)]
        name = "benchmarks.kills: pretraining" if args.pretrain else "benchmarks.kills"
        write_between(name, "\n".join([dated("benchmarks.kills"), summary + ".", "", *lines]))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
