"""What guards, sums, logs and checkpoints cost: `python -m benchmarks.hooks [WORKDIR]`.

Takes steps of the demo's detector on one of its batches, in turns with all hooks of a training and with none, and
prints the ratio of their times. A turn has five epochs of the demo's length, whose ends are logged, drawn and shown in
TensorBoard; it writes one checkpoint with its checksums, and lasts until that is written. On a machine with other work,
the ratio is mostly noise; the time of the loop's thread in the hooks, which is printed too, is not. WORKDIR is a folder
of the demo (`python -m adatad_jax.demo.run`); without it, data of the demo is made in a temporary folder. With
`--write`, the figures are written into `benchmarks/RESULTS.md`.
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console

from adatad_jax.config.memory import given_policy
from adatad_jax.console import make_console
from adatad_jax.data.loader import placed_ahead
from adatad_jax.demo.run import demo_config, make_data
from adatad_jax.devices.placing import replicate
from adatad_jax.pipelines.train_detector import check_inputs, make_plan
from adatad_jax.pipelines.watching import Watched, watch
from adatad_jax.training import checkpoints, loop
from adatad_jax.training.epochs import CountEpoch, LogEpoch
from adatad_jax.training.guards import StopIfNotFinite
from adatad_jax.training.history import Tally
from adatad_jax.training.parameters import split, trained_groups
from adatad_jax.training.retention import Retention
from adatad_jax.training.saving import SaveCheckpoint
from adatad_jax.training.state import TrainState, create_state
from adatad_jax.training.writing import CheckpointWriter
from adatad_jax.weights.initialize import initialize
from benchmarks.results import add_write_option, dated, write_between

EPOCH = 80  # steps of an epoch of the demo
TURNS, STEPS = 5, 5 * EPOCH  # turns with and turns without, and the steps of each: the demo saves every five epochs


class Charged(loop.Hook):
    """Calls other hooks, and sums the time that this thread computes in them."""

    def __init__(self, hooks: Sequence[loop.Hook]) -> None:
        """Starts with no time."""
        self._hooks = hooks
        self.seconds = 0.0

    def after_step(self, done: loop.Done) -> None:
        start = time.thread_time()
        for hook in self._hooks:
            hook.after_step(done)
        self.seconds += time.thread_time() - start

    def due(self, place: loop.Place) -> bool:
        return any(hook.due(place) for hook in self._hooks)

    def pause(self, place: loop.Place, state: TrainState, record: dict[str, Any]) -> None:
        start = time.thread_time()
        for hook in self._hooks:
            if hook.due(place):
                hook.pause(place, state, record)
        self.seconds += time.thread_time() - start


class Measured(NamedTuple):
    """Seconds.

    Attributes:
      without, with_hooks: of each turn.
      in_hooks: that the loop's thread computed in hooks, over all turns.
    """

    without: list[float]
    with_hooks: list[float]
    in_hooks: float


def main() -> None:
    """Prints the time of a step without and with hooks, and their ratio."""
    parser = argparse.ArgumentParser(description="Measure what guards, sums, logs and checkpoints cost.")
    parser.add_argument("workdir", type=Path, nargs="?", help="folder of a demo; default: data is made")
    add_write_option(parser)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = args.workdir or Path(folder)
        make_data(data, 0, 16, 2, make_console())
        found = measure(data, Path(folder) / "run")
    without, with_hooks = (1e3 * np.array(seconds) / STEPS for seconds in (found.without, found.with_hooks))
    own = 1e3 * found.in_hooks / (TURNS * STEPS)
    ratios = with_hooks / without
    lines = [
        f"{jax.devices()[0].device_kind}: {TURNS} turns of {STEPS} steps of the demo each, with {STEPS // EPOCH} ends "
        "of epochs and a checkpoint",
        f"step without hooks {np.median(without):.1f} ms, with all of them {np.median(with_hooks):.1f} ms (medians)",
        f"ratio {np.median(ratios):.4f} ({ratios.min():.4f} to {ratios.max():.4f})",
        f"this thread in the hooks {own:.3f} ms per step, {100 * own / np.median(without):.2f}%",
    ]
    print("\n".join(lines))
    if args.write:
        write_between("benchmarks.hooks", "\n".join([dated("benchmarks.hooks"), "", *(f"- {line}" for line in lines)]))


def measure(data: Path, workdir: Path) -> Measured:
    """Takes turns without and with hooks.

    Args:
      data: folder of a demo.
      workdir: where to log and save.
    """
    quiet = Console(quiet=True)
    long = dict.fromkeys(("train.epochs", "train.schedule_epochs"), TURNS * STEPS)  # at least a step per epoch
    config = demo_config(data, 0, None).with_fields({"train.checkpoint_every": STEPS // EPOCH, **long})
    inputs = check_inputs(config, workdir, quiet)
    policy = given_policy(config.model)
    plan = make_plan(config, policy, inputs.sharing, len(inputs.classes), inputs.batches.steps_per_epoch)
    trained, frozen = split(initialize(plan.model, config, inputs.classes).params)
    state = replicate(create_state(trained, frozen, plan.optimizer, 100.0, 0), plan.devices)
    workdir.mkdir()
    (batch,) = placed_ahead(inputs.batches.from_step(0, 1), inputs.sharing)
    rates = {group: plan.rates[group] for group in trained_groups(trained)}
    frames = config.train.batch_size * config.data.window
    run = Watched(config, plan.memory, workdir, plan.devices, rates, frames, 0, EPOCH, {})
    retention, tally = Retention(config.train.keep_checkpoints, False), Tally()
    with (
        checkpoints.open_manager(workdir, retention) as manager,
        watch(run, {}, quiet) as watching,
        CheckpointWriter(manager, config.train.failed_saves) as writer,
    ):
        saving = SaveCheckpoint(writer, retention, config.train, tally, inputs.run.order)
        guard = StopIfNotFinite(plan.rates, plan.rate_fields, 0, quiet)
        before = [guard, CountEpoch(tally, 1, quiet, ""), *watching.steps]
        charged = Charged([*before, saving, LogEpoch(workdir, quiet), *watching.epochs])

        def turn(first: int, hooks: Sequence[loop.Hook]) -> float:
            nonlocal state
            start = time.perf_counter()
            state = loop.run(plan.step, state, itertools.repeat(batch, STEPS), first, EPOCH, hooks)
            writer.finish()
            jax.block_until_ready(state)
            return time.perf_counter() - start

        turn(0, [])  # compiles
        pairs = [(turn(0, []), turn(number * STEPS, [charged])) for number in range(TURNS)]
        if manager.latest_step() != TURNS * STEPS:
            raise RuntimeError(f"the last checkpoint is of step {manager.latest_step()}, not {TURNS * STEPS}")
    without, with_hooks = map(list, zip(*pairs, strict=True))
    return Measured(without, with_hooks, charged.seconds)


if __name__ == "__main__":
    main()
