"""All that shows what a training does while it runs and afterwards; `train` uses it as one context."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console

from adatad_jax.config.fields import Config
from adatad_jax.console import progress_bar
from adatad_jax.evaluation.mean_ap import Metrics
from adatad_jax.training.curves import DrawCurves
from adatad_jax.training.loop import Hook
from adatad_jax.training.meter import Meter
from adatad_jax.training.profiling import profiled_steps
from adatad_jax.training.progress import PrintProgress, ShowProgress
from adatad_jax.training.run_record import facts_of, recorded
from adatad_jax.training.sinks import FillSinks, Sink
from adatad_jax.training.step_log import LogSteps
from adatad_jax.training.tensorboard import TensorBoard
from adatad_jax.training.weights_and_biases import OFF, WeightsAndBiases


class Watched(NamedTuple):
    """The run that is watched.

    Attributes:
      config: of the run.
      workdir: the run's folder.
      devices: that share a batch.
      rates: group of parameters -> `[steps]` learning rates of all steps.
      first: number of steps taken before.
      steps_per_epoch: of the run.
      same_data: what tells the training data from other data.
      pictures: name -> PNG file of the last evaluation.
    """

    config: Config
    workdir: Path
    devices: list[jax.Device]
    rates: Mapping[str, np.ndarray]
    first: int
    steps_per_epoch: int
    same_data: Mapping[str, Any]
    pictures: Mapping[str, Path]


@contextlib.contextmanager
def watch(run: Watched, console: Console) -> Iterator[list[Hook]]:
    """Yields the hooks that show what a run does, and ends what they have begun, however the block ends.

    They come after the hook that evaluates, and before one that leaves. Processes other than the first show nothing.

    Args:
      run: that is watched.
      console: where to report.

    Raises:
      UserError: the run's folder cannot be written, or Weights & Biases does not start.
    """
    if jax.process_index() != 0:
        yield []
        return
    config, workdir, devices = run.config, run.workdir, run.devices
    shown = next(iter(run.rates.values()))  # of the adapters, where there are any
    frames = config.train.batch_size * config.data.window * config.data.frames_per_position
    meter = Meter(len(shown), run.first, frames)
    with contextlib.ExitStack() as stack:
        facts = facts_of(devices, config.seed, run.same_data)
        identity = stack.enter_context(recorded(workdir, facts, meter))
        hooks: list[Hook] = [meter, LogSteps(workdir, run.first, run.rates)]
        curves = DrawCurves(workdir)
        stack.callback(curves.draw)
        if sinks := _sinks(run, identity):
            for sink in sinks:
                stack.callback(sink.close)
            hooks.append(FillSinks(sinks, config.train.log_steps, meter, run.rates, devices, run.pictures))
        if console.is_terminal:
            bar = stack.enter_context(progress_bar(console, stays=True))
            hooks.append(ShowProgress(bar, meter, shown, run.steps_per_epoch))
        else:
            hooks.append(PrintProgress(console, meter, shown, run.steps_per_epoch, devices))
        profile = stack.enter_context(profiled_steps(workdir, config.train.profile_steps, meter, console))
        yield [*hooks, curves, *profile]


def metrics_record(metrics: Metrics) -> dict[str, Any]:
    """Returns what an epoch's record holds of an evaluation: `average_mAP`, `mAP` by tIoU, `class_AP` by class."""
    return {
        "average_mAP": metrics.average_map,
        "mAP": {f"{tiou:g}": float(value) for tiou, value in zip(metrics.tious, metrics.map, strict=True)},
        "class_AP": {name: float(row.mean()) for name, row in zip(metrics.classes, metrics.per_class, strict=True)},
    }


def _sinks(run: Watched, identity: str) -> list[Sink]:
    """Opens what `train.log_steps` and `train.wandb` ask for, and writes the configuration there."""
    train, fields = run.config.train, run.config.flat()
    if not train.log_steps:
        return []
    sinks: list[Sink] = [TensorBoard(run.workdir, run.first)]
    if train.wandb != OFF:
        sinks.append(WeightsAndBiases(run.workdir, train.wandb, identity, fields))
    text = "\n".join(f"    {name} = {json.dumps(value)}" for name, value in fields.items())  # code, to TensorBoard
    for sink in sinks:
        sink.text("config", text)
    return sinks
