"""The course of a training, whatever it trains, from checked inputs to the last checkpoint: `train` top to bottom."""

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from adatad_jax.config.run_fields import RunConfig
from adatad_jax.data.loader import placed_ahead
from adatad_jax.devices.choice import set_precision
from adatad_jax.devices.connecting import connect
from adatad_jax.devices.faults import faults_explained
from adatad_jax.devices.placing import replicate
from adatad_jax.devices.processes import Processes, is_first
from adatad_jax.pipelines.compiled_ahead import compile_ahead
from adatad_jax.pipelines.start import Start, continue_run, start_run, write_start
from adatad_jax.pipelines.task import Measuring, Plan, Task
from adatad_jax.pipelines.together import check_same_inputs, check_same_start, locked_together
from adatad_jax.pipelines.watching import Watched, Watching, watch
from adatad_jax.training import checkpoints, choosing, loop
from adatad_jax.training.epochs import CountEpoch, LogEpoch
from adatad_jax.training.evaluating import Evaluate
from adatad_jax.training.guards import StopIfNotFinite
from adatad_jax.training.history import read_history, report_evaluations, write_history
from adatad_jax.training.leaving import Leaving, leaves_when_asked
from adatad_jax.training.parameters import groups_table, merge, parameter_groups, trained_groups, with_frozen_in
from adatad_jax.training.retention import Retention
from adatad_jax.training.saving import SaveCheckpoint
from adatad_jax.training.state import TrainState
from adatad_jax.training.writing import CheckpointWriter
from adatad_jax.weights.run_folder import read_policy


def train(
    open_task: Callable[[], Task[Any]],
    savings: Callable[[bool], Sequence[str]],
    config: RunConfig,
    workdir: Path,
    console: Console,
    processes: Processes,
) -> TrainState:
    """Trains to the last epoch, starting from the folder's latest checkpoint if there is one.

    Args:
      open_task: reads and checks the inputs; nothing is computed or written before.
      savings: what makes the run need less memory (`faults_explained`).
      config: of the run; fields may be open.
      workdir: the run's folder.
      console: where to report.
      processes: that train together (`joined`); all must call this.

    Returns:
      The state after the last step, on the host.

    Raises:
      UserError: something that the configuration names is missing or wrong (nothing is written then); a video can no
        longer be read (the state is saved then); the loss or gradient is no longer finite (the message names the step);
        or memory ran out.
      MachineError: a device failed.
      Left: SIGTERM, SIGINT, SIGHUP or a notice of preemption asked the run to leave. Its state is saved; the same call
        continues it. While this runs in the main thread, these signals are handled.
    """
    with leaves_when_asked(config.train.grace, console) as leaving, faults_explained(savings):
        set_precision(config.model.dtype)
        return _train(open_task(), workdir, console, leaving, processes)


def _train(task: Task[Any], workdir: Path, console: Console, leaving: Leaving, processes: Processes) -> TrainState:
    """Trains what is open; see `train`."""
    run, sharing, batches = task.run, task.sharing, task.batches
    config = run.config
    check_same_inputs(processes, config, run.classes, task.fingerprints)
    if processes.count > 1:
        connect(sharing.devices)
    begun = choosing.has_checkpoint(workdir)
    planned = task.planner(read_policy(workdir) if begun else None, console, processes)
    plan = planned(0)
    # Read before anything is written: the weights may be missing or not fit the model.
    initial = None if begun else task.initialize(plan)
    console.print(f"{task.describe()}; {batches.steps_per_epoch} steps per epoch; {sharing.describe()}")
    retention = Retention(config.train.keep_checkpoints, config.train.keep_evaluated)
    with locked_together(workdir, processes), checkpoints.open_manager(workdir, retention) as manager:
        if saved := choosing.read_to_continue(manager):
            start = continue_run(task, plan, saved, console)
        else:
            start = start_run(run, plan, initial or task.initialize(plan), console)
        check_same_start(processes, start)
        plan = planned(start.shift)
        write_start(run, start, plan, console)
        frozen = with_frozen_in(start.state.frozen, plan.frozen_dtype, plan.groups)
        start = start._replace(state=start.state._replace(frozen=frozen))
        task.prepare(plan, frozen, processes, console)
        whole = merge(start.state.trained, frozen)
        console.print(groups_table(parameter_groups(whole, plan.peaks, plan.weight_decay, plan.groups)))
        retention.epochs |= {record["step"]: record for record in _cut_history(workdir, start)}
        measuring = task.measuring(plan, console, processes)
        pictures = {} if measuring is None else measuring.pictures
        with (
            watch(_watched(task, plan, start), pictures, console, leaving) as watching,
            CheckpointWriter(manager, config.train.failed_saves) as writer,
        ):
            save = SaveCheckpoint(writer, retention, config.train, start.tally, {**run.order, "shift": start.shift})
            ending = _ending(task, measuring, watching, console, leaving)
            state = replicate(start.state, plan.devices)
            if start.unfinished is not None:
                retention.epochs[start.step] = start.unfinished
                _end_epoch(ending, start.step, state, start.unfinished)
            state = loop.run(
                plan.step,
                state,
                placed_ahead(batches.from_step(start.step + start.shift, plan.steps + start.shift), sharing),
                start.step,
                batches.steps_per_epoch,
                [*_hooks(task, plan, start, console), *watching.steps, *([save] if is_first() else []), *ending],
                leaving,
                processes,
                start.shift,
                _compiler(task, plan, start, processes),
            )
    report_evaluations(workdir, console)
    result: TrainState = jax.device_get(state)
    # A run that was made shorter has taken more steps than its epochs now have.
    console.print(f"trained: {int(result.step):,} steps in all; checkpoints are in {manager.directory}")
    return result


def _compiler(task: Task[Any], plan: Plan[Any], start: Start, processes: Processes) -> Callable[[TrainState], None]:
    """Returns a function that compiles the step ahead; it does nothing where no step is left, or there are others."""
    if processes.count > 1 or start.step >= plan.steps:
        return lambda state: None
    return functools.partial(compile_ahead, plan.step, task.filler(), task.run.config.train.batch_size, task.sharing)


def _cut_history(workdir: Path, start: Start) -> list[dict[str, Any]]:
    """Cuts the history of a run to the epochs before a start, and returns it."""
    history = [record for record in read_history(workdir) if record["step"] <= start.step]
    if is_first():
        write_history(workdir, history)
    return history


def _hooks(task: Task[Any], plan: Plan[Any], start: Start, console: Console) -> list[loop.Hook]:
    """Returns the hooks of the training loop before those that show, save and end an epoch, in their order."""
    return [
        StopIfNotFinite(plan.rates, plan.rate_fields, task.run.config.train.skip_bad_steps, console),
        CountEpoch(start.tally, task.samples, console, task.segments),
    ]


def _ending(
    task: Task[Any], measuring: Measuring | None, watching: Watching, console: Console, leaving: Leaving
) -> list[loop.Hook]:
    """Returns the hooks that end an epoch once its checkpoint is saved; a resumed run may begin with them."""
    evaluations: list[loop.Hook] = []
    if measuring is not None:  # before the log, which holds the result
        evaluations.append(Evaluate(task.run.config.train, measuring.measure, leaving))
    logs = [LogEpoch(task.run.workdir, console)] if is_first() else []
    return [*evaluations, *logs, *watching.epochs]


def _end_epoch(hooks: list[loop.Hook], step: int, state: TrainState, record: dict[str, Any]) -> None:
    """Does what an interruption after the checkpoint of an epoch has left: its evaluation, its line in the history.

    Args:
      hooks: from `_ending`.
      step: number of steps taken.
      state: on the devices.
      record: of the epoch.
    """
    place = loop.Place(step, record["epoch"], 0)
    for hook in hooks:
        if hook.due(place):
            hook.pause(place, state, record)


def _watched(task: Task[Any], plan: Plan[Any], start: Start) -> Watched:
    """Returns what is shown of a run."""
    run = task.run
    videos = hashlib.sha256(json.dumps(run.videos, sort_keys=True).encode()).hexdigest()
    return Watched(
        run.config,
        plan.memory,
        run.workdir,
        plan.devices,
        {group: plan.rates[group] for group in trained_groups(start.state.trained, plan.groups)},
        run.config.train.batch_size * task.frames,
        start.step,
        run.order["steps_per_epoch"],
        {**run.order, "annotations_sha256": videos},
        start.shift,
    )
