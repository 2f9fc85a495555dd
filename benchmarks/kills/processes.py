"""Kills one of several processes at random moments: `python -m benchmarks.kills.processes [--kills 10]`.

One training of several processes runs undisturbed. Another one, in its own folder, loses a process by kill -9 at a
moment drawn from the length of the first one, or just after it has saved, and is started again by the same commands,
until it has lost so many; if it is done before, the kills go on in another folder. The processes that are left must end
by themselves within a minute, with an exit code that is not 0; those that have not met yet wait for
`distributed.timeout`. At the end, checkpoint and history must be those of the first training, bit by bit, but for
seconds. The exit code is 1 if not.
"""

import argparse
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from adatad_jax.console import make_console
from adatad_jax.demo.run import make_data
from benchmarks.kills.__main__ import arguments_of, make_parser
from benchmarks.kills.compare import differences
from benchmarks.results import dated, write_between

MINUTE = 60.0
WAIT = 60.0  # seconds that processes wait for each other at the start, after Python and its libraries have started
POLL = 0.05  # seconds


class Lost(NamedTuple):
    """What the loss of a process did.

    Attributes:
      process: that was killed; None: all ended by themselves before.
      after: seconds from the start.
      seconds: from the kill to the end of the last process.
      codes: exit code of every process.
      said: the last line of each.
    """

    process: int | None
    after: float
    seconds: float
    codes: tuple[int, ...]
    said: tuple[str, ...]


def run(
    folder: Path, arguments: Sequence[str], processes: int, victim: int | None, moment: float, saved: bool = False
) -> Lost:
    """Trains with several processes, and kills one of them.

    Args:
      folder: of the run.
      arguments: of `adatad`, without the folder.
      processes: their number.
      victim: to kill; None: none.
      moment: seconds after the start.
      saved: whether these count from the first checkpoint that is saved instead.
    """
    before = _newest(folder)
    command = [sys.executable, "-m", "adatad_jax", *arguments, "--workdir", str(folder)]
    outputs = [folder.with_suffix(f".{process}.txt") for process in range(processes)]
    started, clock, struck = [], time.monotonic(), None
    for process, path in enumerate(outputs):
        with path.open("ab") as output:
            started.append(
                subprocess.Popen(command, stdout=output, stderr=output, env=environment(process, processes, folder))
            )
    try:
        while any(one.poll() is None for one in started):
            now = time.monotonic()
            if saved and struck is None and _newest(folder) == before:
                clock = now
            if victim is not None and struck is None and now > clock + moment and started[victim].poll() is None:
                started[victim].kill()
                struck = now
            if struck is not None and now > struck + 2 * MINUTE:
                break
            time.sleep(POLL)
        seconds = time.monotonic() - (struck or clock)
    finally:
        for one in started:
            one.kill()
    codes = tuple(one.wait() for one in started)
    said = tuple((path.read_text(errors="replace").strip().splitlines() or [""])[-1] for path in outputs)
    return Lost(victim if struck else None, moment, seconds, codes, said)


def _newest(folder: Path) -> int:
    """Returns the step of the newest checkpoint of a run; 0 if there is none."""
    path = folder / "checkpoints"
    names = [one.name for one in path.iterdir()] if path.is_dir() else []
    return max((int(name) for name in names if name.isdecimal()), default=0)


_ports: dict[Path, int] = {}


def environment(process: int, processes: int, folder: Path) -> Mapping[str, str]:
    """Returns the variables of a process; the port of a folder stays the same, as it does for a user.

    All runs share the programs that JAX compiles: compilation would take most of a run.
    """
    if folder not in _ports:
        with socket.create_server(("", 0)) as one:
            _ports[folder] = one.getsockname()[1]
    meeting = {"JAX_COORDINATOR_ADDRESS": f"localhost:{_ports[folder]}", "JAX_NUM_PROCESSES": str(processes)}
    compiled = {
        "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    return {**os.environ, **meeting, **compiled, "JAX_PROCESS_ID": str(process)}


def strike(args: argparse.Namespace) -> tuple[list[Lost], list[str]]:
    """Trains undisturbed, then under kills.

    Returns:
      What each kill did, and what is wrong.
    """
    console, rng = make_console(), random.Random(args.seed)
    shutil.rmtree(args.workdir, ignore_errors=True)
    args.workdir.mkdir(parents=True)
    make_data(args.workdir, args.seed, args.train_videos, args.test_videos, console)
    arguments, reference = arguments_of(args), args.workdir / "undisturbed"
    whole = run(reference, arguments, args.processes, None, 0)
    console.print(f"undisturbed: codes {whole.codes} in {whole.seconds:.0f} s")
    if any(whole.codes):
        return [], [f"the undisturbed training failed: {whole.said}"]
    lost, wrong, number = list[Lost](), list[str](), 1
    while True:
        folder = args.workdir / f"killed-{number}"
        victim = rng.randrange(args.processes) if len(lost) < args.kills else None
        saved = len(lost) % 2 == 0  # the setup takes most of a short run: every second kill comes after a checkpoint
        moment = rng.uniform(0, 2.0 if saved else whole.seconds)
        found = run(folder, arguments, args.processes, victim, moment, saved and victim is not None)
        if found.process is not None:
            lost.append(found)
            survivors = [code for process, code in enumerate(found.codes) if process != found.process]
            console.print(
                f"{len(lost)}/{args.kills}  process {found.process} killed after {found.after:.1f} s: the others ended "
                f"in {found.seconds:.1f} s with codes {survivors}: {found.said[1 - min(found.process, 1)]}"
            )
            limit = MINUTE + (WAIT if any("did not" in text for text in found.said) else 0)
            if found.seconds > limit or 0 in survivors:
                wrong.append(f"kill {len(lost)}: {found}")
            continue
        if any(found.codes):
            return lost, [*wrong, f"{folder}: ended by itself with codes {found.codes}: {found.said}"]
        wrong += [f"{folder}: {text}" for text in differences(reference, folder)]
        if len(lost) >= args.kills:
            return lost, wrong
        number += 1


def main() -> None:
    """Kills as often as asked, prints the counts, and ends with code 1 if anything was lost or hung."""
    parser = make_parser()
    parser.add_argument("--processes", type=int, default=2)
    parser.set_defaults(workdir=Path("runs/killed_processes"), kills=10, epochs=4, train_videos=8, test_videos=4)
    args = parser.parse_args()
    clock = time.monotonic()
    lost, wrong = strike(args)
    for line in wrong:
        print(line)
    slowest = max((one.seconds for one in lost), default=0.0)
    summary = (
        f"{len(lost)} kills of one of {args.processes} processes, as many restarts, in "
        f"{(time.monotonic() - clock) / MINUTE:.1f} min: the others ended within {slowest:.1f} s; "
        f"{len(wrong)} problems{'' if wrong else ': checkpoint and history bit-identical'}"
    )
    print(summary)
    if args.write:
        write_between("benchmarks.kills.processes", f"{dated('benchmarks.kills.processes')} {summary}.")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
