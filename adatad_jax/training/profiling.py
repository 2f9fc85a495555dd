"""A profile of chosen steps, written by JAX's profiler."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from adatad_jax.errors import one_line
from adatad_jax.training.loop import Hook, Place
from adatad_jax.training.meter import Meter
from adatad_jax.training.state import TrainState

PROFILE_FOLDER = "profile"


class ProfileSteps(Hook):
    """Profiles the steps from one to another, which wait for the device at their start and end."""

    def __init__(self, workdir: Path, steps: tuple[int, int], console: Console) -> None:
        """Prepares to profile; use `profiled_steps`, which ends a profile that is not finished.

        Args:
          workdir: the run's folder.
          steps: first and last step, counted from 1.
          console: where to report.
        """
        self._folder, (self._first, self._last), self._console = workdir / PROFILE_FOLDER, steps, console
        self.running = False

    def start(self) -> None:
        """Starts the profile. One that cannot be started is a message: no profile is worth a run."""
        try:
            jax.profiler.start_trace(str(self._folder))
        except Exception as error:  # of the profiler, which says in no way which they are
            self._console.print(f"no profile: it cannot be started ({one_line(error)})", style="red")
            return
        self.running = True

    def stop(self, step: int) -> None:
        """Ends the profile and says where it is; one that cannot be written is a message."""
        self.running = False
        try:
            jax.profiler.stop_trace()
        except Exception as error:
            self._console.print(f"{self._folder}: no profile: it cannot be written ({one_line(error)})", style="red")
            return
        self._console.print(
            f"profile of steps {self._first} to {step}: {self._folder}; open it with `pip install xprof` and `xprof "
            f"{self._folder}`, or its *.trace.json.gz at https://ui.perfetto.dev"
        )

    def due(self, place: Place) -> bool:
        return place.step in (self._first - 1, self._last)

    def pause(self, place: Place, state: TrainState, record: dict[str, Any]) -> None:
        jax.block_until_ready(state)
        if place.step == self._last and self.running:
            self.stop(place.step)
        elif place.step == self._first - 1:
            self.start()


@contextlib.contextmanager
def profiled_steps(workdir: Path, steps: tuple[int, ...], meter: Meter, console: Console) -> Iterator[list[Hook]]:
    """Yields the hook that profiles the chosen steps; none if there is nothing to profile, which is said.

    Args:
      workdir: the run's folder.
      steps: first and last step to profile, counted from 1; empty: none.
      meter: knows the steps of this start.
      console: where to report.
    """
    first = meter.step + 1
    begin, end = (max(steps[0], first), min(steps[1], meter.total)) if steps else (1, 0)
    wanted = f"train.profile_steps={','.join(map(str, steps))}: this start takes the steps {first} to {meter.total}"
    if begin > end:
        if steps:
            console.print(f"{wanted}, so there is nothing to profile", style="yellow")
        yield []
        return
    if (begin, end) != steps:
        console.print(f"{wanted}; of these, {begin} to {end} are profiled")
    hook = ProfileSteps(workdir, (begin, end), console)
    if begin == first:
        hook.start()
    try:
        yield [hook]
    finally:
        if hook.running:
            hook.stop(meter.step)
        elif meter.step < begin:
            console.print(f"the run ended after step {meter.step}, before the first step to profile, {begin}")
