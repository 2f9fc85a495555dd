"""All that shows what a training does while it runs and afterwards; `train` uses it as one context."""

import contextlib
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console

from adatad_jax.config.run_fields import RunConfig
from adatad_jax.console import progress_bar
from adatad_jax.devices.processes import is_first
from adatad_jax.training.curves import DrawCurves
from adatad_jax.training.leaving import Leaving
from adatad_jax.training.loop import Hook
from adatad_jax.training.meter import Meter
from adatad_jax.training.profiling import profiled_steps
from adatad_jax.training.progress import PrintProgress, ShowProgress
from adatad_jax.training.run_record import facts_of, read_record, recorded
from adatad_jax.training.sinks import FillSinks, Sink
from adatad_jax.training.step_log import LogSteps
from adatad_jax.training.tensorboard import TensorBoard
from adatad_jax.training.weights_and_biases import OFF, WeightsAndBiases


class Watched(NamedTuple):
    """The run that is watched.

    Attributes:
      config: of the run.
      memory: what was chosen of the policy of memory, as JSON values.
      workdir: the run's folder.
      devices: that share a batch.
      rates: group of trained parameters -> `[steps]` learning rates of all steps; bars and lines show the first.
      frames: of a batch.
      first: number of steps taken before.
      steps_per_epoch: of the run.
      same_data: what tells the training data from other data.
      shift: epoch e begins at step `e * steps_per_epoch - shift`.
    """

    config: RunConfig
    memory: Mapping[str, Any]
    workdir: Path
    devices: Sequence[jax.Device]
    rates: Mapping[str, np.ndarray]
    frames: int
    first: int
    steps_per_epoch: int
    same_data: Mapping[str, Any]
    shift: int = 0


class Watching(NamedTuple):
    """What shows a run.

    Attributes:
      steps: hooks that come before the evaluation.
      epochs: hooks that come after the log of the epoch.
    """

    steps: list[Hook]
    epochs: list[Hook]


@contextlib.contextmanager
def watch(
    run: Watched, pictures: Mapping[str, Path], console: Console, leaving: Leaving | None = None
) -> Iterator[Watching]:
    """Yields what shows a run, and ends all that it has begun, however the block ends.

    Processes other than the first show nothing.

    Args:
      run: that is watched.
      pictures: name -> PNG file of the latest evaluation.
      console: where to report.
      leaving: of the run; None: nothing asks it to leave.

    Raises:
      UserError: the run's folder cannot be written, or Weights & Biases does not start.
    """
    if not is_first():
        yield Watching([], [])
        return
    config, workdir, devices = run.config, run.workdir, run.devices
    shown = next(iter(run.rates.values()))
    meter = Meter(len(shown), run.first, run.frames)
    with contextlib.ExitStack() as stack:
        record = read_record(workdir)  # before the log of steps is cut to this start
        steps: list[Hook] = [meter, LogSteps(workdir, run.first, run.rates, run.steps_per_epoch, run.shift)]
        curves = DrawCurves(workdir)
        stack.push(functools.partial(_draw_unless_left, curves))
        epochs: list[Hook] = [curves]
        if sinks := _sinks(run, record.identity, stack):
            epochs.append(FillSinks(sinks, config.train.log_steps, meter, run.rates, devices, pictures))
        if console.is_terminal:
            bar = stack.enter_context(progress_bar(console, stays=True))
            steps.append(ShowProgress(bar, meter, shown, run.steps_per_epoch, run.shift))
        else:
            steps.append(PrintProgress(console, meter, shown, run.steps_per_epoch, devices, run.shift))
        steps += stack.enter_context(profiled_steps(workdir, config.train.profile_steps, meter, console))
        facts = {**facts_of(devices, config.seed, run.same_data), "memory": dict(run.memory)}
        # Last, so that the end is recorded first: what leaves has little time.
        stack.enter_context(recorded(workdir, record, facts, meter, leaving))
        yield Watching(steps, epochs)


def _draw_unless_left(curves: DrawCurves, kind: type[BaseException] | None, *_: object) -> None:
    """Draws at the end of a run, and at an error; a run that leaves has its picture from the last epoch."""
    if kind is None or not issubclass(kind, SystemExit | KeyboardInterrupt):
        curves.draw()


def _sinks(run: Watched, identity: str, stack: contextlib.ExitStack) -> list[Sink]:
    """Opens what `train.log_steps` and `train.wandb` ask for until the stack ends, with the configuration in it."""
    train, fields = run.config.train, run.config.flat()
    if not train.log_steps:
        return []
    sinks: list[Sink] = [TensorBoard(run.workdir, run.first)]
    stack.callback(sinks[0].close)
    if train.wandb != OFF:
        sinks.append(WeightsAndBiases(run.workdir, train.wandb, identity, fields))
        stack.callback(sinks[1].close)
    text = "\n".join(f"    {name} = {json.dumps(value)}" for name, value in fields.items())  # code, to TensorBoard
    for sink in sinks:
        sink.text("config", text)
    return sinks
