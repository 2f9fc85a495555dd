"""What it costs to show a run: `python -m benchmarks.logging [WORKDIR]`.

Takes steps of the demo's detector on its videos, in turns with all hooks that log and with none, and prints the ratio
of their times. On a machine with other work, that ratio is mostly noise; the time of the loop's thread in the hooks,
which is printed too, is not. WORKDIR is a folder of the demo (`python -m adatad_jax.demo.run`); without it, data of the
demo is made in a temporary folder.
"""

import itertools
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from rich.console import Console

from adatad_jax.console import make_console
from adatad_jax.data.loader import placed_ahead
from adatad_jax.demo.run import demo_config, make_data
from adatad_jax.devices.placing import replicate
from adatad_jax.pipelines.train_detector import check_inputs, make_plan
from adatad_jax.pipelines.watching import Watched, watch
from adatad_jax.training import loop
from adatad_jax.training.optimizer import group_rates
from adatad_jax.training.parameters import split, trained_groups
from adatad_jax.training.state import create_state
from adatad_jax.weights.initialize import initialize

ROUNDS, STEPS = 12, 11  # steps with and steps without, in turns
NO_END = 10**9  # steps per epoch: none ends


class Timed(loop.Hook):
    """Collects the seconds of steps."""

    def __init__(self) -> None:
        """Starts with none."""
        self.seconds: list[float] = []

    def after_step(self, done: loop.Done) -> None:
        self.seconds.append(done.seconds)

    def steady(self) -> list[float]:
        """Returns the seconds of all steps but the first of each turn: what hooks take counts in the step after.

        The loop shows a step to the hooks when the next has started, so the last of a turn is not among them.
        """
        return [seconds for number, seconds in enumerate(self.seconds) if number % (STEPS - 1)]


class Charged(loop.Hook):
    """Calls other hooks, and sums the time that this thread computes in them."""

    def __init__(self, hooks: Sequence[loop.Hook]) -> None:
        """Starts with no time."""
        self._hooks = hooks
        self.seconds, self.steps = 0.0, 0

    def after_step(self, done: loop.Done) -> None:
        start = time.thread_time()
        for hook in self._hooks:
            hook.after_step(done)
        self.seconds += time.thread_time() - start
        self.steps += 1


def main() -> None:
    """Prints the time of a step without and with logging, and their ratio."""
    console = make_console()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder)
        make_data(data, 0, 16, 2, console)
        without, logging, charged = measure(data, Path(folder) / "run")
    print(f"{jax.devices()[0].device_kind}: {len(logging)} steps of the demo in turns, medians")
    print(f"step without logging {1e3 * np.median(without):.2f} ms, with logging {1e3 * np.median(logging):.2f} ms")
    own = charged.seconds / charged.steps
    print(f"ratio {np.median(logging) / np.median(without):.4f}; in the hooks {1e3 * own:.3f} ms per step, ", end="")
    print(f"{100 * own / np.median(without):.2f}%")


def measure(data: Path, workdir: Path) -> tuple[list[float], list[float], Charged]:
    """Returns the seconds of steps without and with logging, and the time in the hooks.

    Args:
      data: folder of a demo.
      workdir: where to log.
    """
    quiet = Console(quiet=True)
    config = demo_config(data, 0, None)
    inputs = check_inputs(config, workdir, quiet)
    plan = make_plan(config, inputs.sharing, len(inputs.classes), inputs.batches.steps_per_epoch)
    trained, frozen = split(initialize(plan.model, config, inputs.classes).params)
    state = replicate(create_state(trained, frozen, plan.optimizer, 100.0, 0), plan.devices)
    workdir.mkdir()
    (batch,) = placed_ahead(inputs.batches.from_step(0, 1), inputs.sharing)
    rates = group_rates(plan.optimizer_config, trained_groups(trained))
    run = Watched(config, workdir, plan.devices, rates, 0, inputs.batches.steps_per_epoch, {})
    without, logging = Timed(), Timed()
    with watch(run, None, quiet) as watching:
        charged = Charged([*watching.steps, *watching.epochs])
        for _ in range(ROUNDS):
            for hooks in ([without], [charged, logging]):
                state = loop.run(plan.step, state, itertools.repeat(batch, STEPS), 0, NO_END, hooks)
    return without.steady(), logging.steady(), charged


if __name__ == "__main__":
    main()
