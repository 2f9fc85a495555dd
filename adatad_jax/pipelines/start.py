"""The start of a training: afresh from initial parameters, or from a checkpoint of the run in its folder."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from rich.console import Console

from adatad_jax.conversion.folders import UNUSED_FILE
from adatad_jax.conversion.torch_file import write_tensors
from adatad_jax.devices.processes import is_first
from adatad_jax.errors import UserError
from adatad_jax.pipelines.task import Plan, Run, Task
from adatad_jax.training import checkpoints
from adatad_jax.training.evaluating import unfinished_epoch
from adatad_jax.training.history import Tally, read_history
from adatad_jax.training.parameters import merge, split, trained_groups
from adatad_jax.training.resuming import resume
from adatad_jax.training.state import TrainState, create_state
from adatad_jax.weights.changes import CHANGES_FILE, FLAG, record_changes, write_videos
from adatad_jax.weights.frozen import read_frozen, write_frozen
from adatad_jax.weights.initialize import Initial
from adatad_jax.weights.run_folder import write_config


class Start(NamedTuple):
    """Where a training starts.

    Attributes:
      state: on the host.
      step: number of steps taken before.
      tally: of the current epoch.
      shift: as in `OptimizerConfig`.
      unfinished: record of the epoch that ends there, if it is still to be evaluated or recorded.
    """

    state: TrainState
    step: int
    tally: Tally
    shift: int = 0
    unfinished: dict[str, Any] | None = None


def start_run(run: Run, plan: Plan[Any], initial: Initial, console: Console) -> Start:
    """Starts a run: its frozen parameters, and unused tensors of the weights, are written into its folder.

    Raises:
      UserError: they cannot be written.
    """
    config = run.config
    console.print("\n".join(filter(None, (config.weights, initial.summary))))
    trained, frozen = split(initial.params, plan.groups)
    if is_first():
        write_frozen(run.workdir, frozen)
    if initial.unused and is_first():
        write_tensors(run.workdir / UNUSED_FILE, initial.unused)  # for convert/flax_to_pth.py
    state = create_state(trained, frozen, plan.optimizer, plan.normalizer, config.seed)
    return Start(state, 0, Tally())


def continue_run(task: Task[Any], plan: Plan[Any], saved: checkpoints.Saved, console: Console) -> Start:
    """Continues a run from what a checkpoint holds.

    Raises:
      UserError: the checkpoint does not fit the model, the frozen parameters are missing or damaged, or the training
        videos have changed, which is not permitted.
    """
    run = task.run
    workdir, config, order, step = run.workdir, run.config, run.order, saved.step
    place = resume(saved.metadata, order, step)
    if place.is_anew and run.changes.videos is None and not config.train.resume_with_changes:
        raise UserError(
            f"{workdir}: the training videos are not the same: {saved.metadata.get('videos', 'others')} with "
            f"{saved.metadata['steps_per_epoch']} steps per epoch so far, now {order['videos']} with "
            f"{order['steps_per_epoch']}; give the same videos, another --workdir, or permit the change with {FLAG}"
        )
    frozen = read_frozen(workdir, saved)

    def fresh() -> TrainState:
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), task.parameter_shapes(plan))
        trained, _ = split(zeros, plan.groups)
        return create_state(trained, {}, plan.optimizer, plan.normalizer, config.seed)

    state = checkpoints.restore_state(
        saved, frozen, jax.eval_shape(fresh), workdir / checkpoints.CHECKPOINTS_FOLDER / str(step)
    )
    task.check_parameters(plan, merge(state.trained, frozen))
    if saved.frozen is not None and is_first():  # a run of version 0.1: its next checkpoints will be in today's format
        write_frozen(workdir, frozen)
    epoch = (step + place.shift) / order["steps_per_epoch"]
    console.print(f"continuing {workdir} after step {step} (epoch {epoch:g}{', anew' if place.is_anew else ''})")
    unfinished = unfinished_epoch(saved, read_history(workdir), config.train)
    return Start(state, step, place.tally, place.shift, unfinished)


def write_start(run: Run, start: Start, plan: Plan[Any], console: Console) -> None:
    """Writes what a run's folder says about it before its next step, and lists what this start changes.

    Args:
      run: to write.
      start: where it starts.
      plan: what it computes with.
      console: where to report.

    Raises:
      UserError: a file cannot be written.
    """
    if lines := list(run.changes.lines()):
        console.print(f"changed from step {start.step} on, recorded in {run.workdir / CHANGES_FILE}:")
        for line in lines:
            console.print(f"  {line}", highlight=False)
        if start.step < plan.steps:
            groups = trained_groups(start.state.trained, plan.groups)
            rates = ", ".join(f"{group} {plan.rates[group][start.step]:.1e}" for group in groups)
            console.print(f"  learning rates at this step: {rates}")
    if start.step and run.changes.videos is None:
        console.print("the run has no record of its training videos: they are taken for unchanged, and recorded now")
    if not is_first():
        return
    epoch = (start.step + start.shift) // run.order["steps_per_epoch"]
    record_changes(run.workdir, run.changes, start.step, epoch)
    write_videos(run.workdir, run.videos)
    write_config(run.workdir, run.config, run.classes, plan.memory)
