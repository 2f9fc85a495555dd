"""A dry run of a training: everything is built and compiled, and what it will need is printed; nothing is written."""

import datetime
import functools
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from adatad_jax.config.build import learner, make_loss
from adatad_jax.config.fields import Config
from adatad_jax.config.memory import MemoryChoice
from adatad_jax.data.batch import Batch
from adatad_jax.data.loader import training_batch
from adatad_jax.devices.choice import Sharing, set_precision
from adatad_jax.devices.memory import Need, bytes_of, memory_available, memory_needed
from adatad_jax.devices.placing import place, replicate
from adatad_jax.inference.predictor import map_prediction
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.models.layers import Params
from adatad_jax.pipelines.fitting import evaluated, training_policy
from adatad_jax.pipelines.run_size import Known, what_is_known
from adatad_jax.pipelines.task import Plan
from adatad_jax.pipelines.train_detector import make_plan, sharing_of
from adatad_jax.training.checkpoints import CHECKPOINTS_FOLDER
from adatad_jax.training.choosing import has_checkpoint
from adatad_jax.training.evaluating import is_evaluated
from adatad_jax.training.flops import flops_per_window
from adatad_jax.training.history import HISTORY_FILE
from adatad_jax.training.memory import memory_savings
from adatad_jax.training.parameters import groups_table, parameter_groups, split, with_frozen_in
from adatad_jax.training.state import TrainState, create_state
from adatad_jax.weights.frozen import FROZEN_FOLDER
from adatad_jax.weights.initialize import initial_shapes
from adatad_jax.weights.run_folder import CONFIG_FILE, read_policy

PLATFORMS = ("cpu", "cuda", "tpu")
UNKNOWN_STEPS = 100  # per epoch, where they are unknown: the length of the tables of learning rates alone
TIMED, TIMED_SECONDS = 3, 30  # calls, of which the first does not count; no further call after so many seconds

Function = Callable[..., Any]


class Program(NamedTuple):
    """A function that a run compiles.

    Attributes:
      name: in words.
      function: mapped over devices.
      devices: how many.
      arguments: shapes and dtypes of what it takes.
      make: returns such arguments on the devices, filled with zeros. A call may take their memory.
    """

    name: str
    function: Function
    devices: int
    arguments: tuple[Any, ...]
    make: Callable[[], tuple[Any, ...]]


class Shapes(NamedTuple):
    """Shapes and dtypes of a run.

    Attributes:
      params: the whole tree.
      state: of the training.
      window: a training batch of one window, `[1, ...]`.
      test_window: the same with frames, also where training takes stored features.
    """

    params: Params
    state: TrainState
    window: Batch
    test_window: Batch


class Measured(NamedTuple):
    """What was found out about a compiled function.

    Attributes:
      need: memory on each device; None where the backend does not tell.
      seconds: of a call; None if none was made.
      why_not: why no call was made.
    """

    need: Need | None
    seconds: float | None
    why_not: str = ""


def dry_run(config: Config, workdir: Path, console: Console, platform: str | None = None) -> None:
    """Builds and compiles what a training computes, prints what it will need, and writes nothing.

    Inputs that are missing are named; what depends on them is left out, and the rest is built from the configuration.

    Args:
      config: of the run; fields may be open.
      workdir: the run's folder, which need not exist.
      console: where to report.
      platform: of `PLATFORMS`: the functions are lowered for it, on any machine, and neither compiled nor timed. None
        compiles and times them on this machine's devices.

    Raises:
      UserError: the configuration cannot work, inputs that are there are wrong, or the configuration leaves fields open
        and the annotations that fill them are missing.
    """
    set_precision(config.model.dtype)
    known = what_is_known(config, workdir, console)
    config = known.config
    sharing = sharing_of(config)
    for note in known.notes:
        console.print(note)
    kept = read_policy(workdir) if has_checkpoint(workdir) else None
    choice = training_policy(config, sharing, known.classes, kept, console, platform=platform)
    plan = make_plan(config, choice.policy, sharing, known.classes, known.steps_per_epoch or UNKNOWN_STEPS)
    shapes = _shapes(plan, config, known)
    console.print(groups_table(parameter_groups(shapes.params, plan.peaks, plan.weight_decay, plan.groups)))
    state, loss = shapes.state, make_loss(config.train)
    flops = flops_per_window(learner(plan.model, config), loss, state.trained, state.frozen, shapes.window)
    step, prediction = _programs(plan, sharing, config, shapes)
    table = Table(title="dry run", show_header=False)
    for row in [*_size_rows(config, known, sharing), *_flops_rows(flops, config)]:
        table.add_row(*row)
    if platform is not None:
        for program in (step, prediction):
            table.add_row(program.name, _lowered(program, platform, console))
    else:
        found = [_measured(program, plan.devices[0], console) for program in (step, prediction)]
        for row in _cost_rows(config, known, plan, flops, choice, *found):
            table.add_row(*row)
    console.print(table)
    console.print(_folder(workdir, shapes, config))
    console.print("dry run: nothing was written")


def _shapes(plan: Plan[AdaTAD], config: Config, known: Known) -> Shapes:
    params = initial_shapes(plan.model, config)
    params = jax.eval_shape(lambda tree: with_frozen_in(tree, plan.frozen_dtype, plan.groups), params)
    trained, frozen = split(params, plan.groups)
    create = functools.partial(create_state, optimizer=plan.optimizer, normalizer=plan.normalizer, seed=config.seed)
    with_frames = config.with_fields({"train.cache_features": ""})
    windows = [_abstract(training_batch([None], one, known.segment_rows)) for one in (config, with_frames)]
    return Shapes(params, jax.eval_shape(create, trained, frozen), *windows)


def _programs(plan: Plan[AdaTAD], sharing: Sharing, config: Config, shapes: Shapes) -> tuple[Program, Program]:
    """Returns the training step and the prediction of test windows, as a training compiles them."""
    devices, everywhere = sharing.devices, jax.local_devices()  # all devices evaluate, each windows of its own

    rows = _rows(shapes.window, config.train.batch_size // sharing.groups)
    frames = rows.frames.shape
    share = (frames[0], frames[1] // sharing.shares, *frames[2:])
    part = rows._replace(frames=jax.ShapeDtypeStruct(share, rows.frames.dtype))
    step = Program(
        "training step",
        plan.step,
        len(devices),
        (shapes.state, _on_each(part, len(devices))),
        lambda: (replicate(_zeros(shapes.state), devices), place([_zeros(part)] * len(devices), devices)),
    )
    windows = _rows((shapes.test_window.frames, shapes.test_window.mask), config.test.batch_size)
    prediction = Program(
        "evaluation step",
        map_prediction(evaluated(plan.model, config, sharing), everywhere),
        len(everywhere),
        (shapes.params, *_on_each(windows, len(everywhere))),
        lambda: (
            replicate(_zeros(shapes.params), everywhere),
            *place([_zeros(windows)] * len(everywhere), everywhere),
        ),
    )
    return step, prediction


def _lowered(program: Program, platform: str, console: Console) -> str:
    """Lowers a function for a platform that need not be there; returns what was lowered, in words."""
    console.print(f"{program.name}: lowering for {platform} ...")
    # A mapped function has no `trace`; inside of jit it has.
    lowered = jax.jit(program.function).trace(*program.arguments).lower(lowering_platforms=(platform,))
    lines = f"{lowered.as_text().count(chr(10)):,} lines of StableHLO"
    return f"lowered for {platform}, {program.devices} device(s): {lines}; neither compiled nor timed"


def _measured(program: Program, device: jax.Device, console: Console) -> Measured:
    """Compiles a function, and calls it a few times if it fits the device."""
    console.print(f"{program.name}: compiling (minutes, for a large model) ...")
    start = time.perf_counter()
    compiled = program.function.lower(*program.arguments).compile()  # type: ignore[attr-defined]
    console.print(f"{program.name}: compiled in {time.perf_counter() - start:.0f} s; timing it ...")
    need, available = memory_needed(compiled), memory_available(device)
    if need is not None and available is not None and need.total > available:
        return Measured(need, None, "not timed: it does not fit the memory")
    seconds: list[float] = []
    began = time.perf_counter()
    while len(seconds) < TIMED and (not seconds or time.perf_counter() - began < TIMED_SECONDS):
        arguments = program.make()
        jax.block_until_ready(arguments)
        start = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        seconds.append(time.perf_counter() - start)
    return Measured(need, min(seconds[1:] or seconds))


def _size_rows(config: Config, known: Known, sharing: Sharing) -> list[tuple[str, str]]:
    train, rows = config.train, [("devices", sharing.describe())]
    if known.steps_per_epoch is None:
        return [*rows, ("windows", f"unknown; {train.epochs} epochs in batches of {train.batch_size}")]
    steps = known.steps_per_epoch
    return [
        *rows,
        ("windows", f"{known.windows:,} per epoch in batches of {train.batch_size}: {steps:,} steps"),
        ("steps", f"{steps * train.epochs:,} in {train.epochs} epochs"),
    ]


def _flops_rows(flops: float | None, config: Config) -> list[tuple[str, str]]:
    if flops is None:
        return [("operations", "not counted by this backend")]
    return [
        (
            "operations",
            f"{_amount(flops * config.train.batch_size)}FLOP per step, {_amount(flops)}FLOP per window: forward, and "
            "gradients of what is trained; every layer counted, recomputation (model.remat) and augmentation not",
        )
    ]


def _cost_rows(
    config: Config,
    known: Known,
    plan: Plan[AdaTAD],
    flops: float | None,
    choice: MemoryChoice,
    step: Measured,
    prediction: Measured,
) -> list[tuple[str, str]]:
    """Returns the rows on memory and time."""
    device = plan.devices[0]
    rows = [
        ("memory, estimated", f"{choice.estimate.describe()} per device in the training step"),
        *(
            (f"memory of the {name}", _memory(found.need, device))
            for name, found in (("training step", step), ("evaluation step", prediction))
        ),
    ]
    if step.seconds is None or prediction.seconds is None:
        less = ("what needs less memory", "; ".join(memory_savings(config, of_device=True)))
        return [*rows, ("time", step.why_not or prediction.why_not), less]
    rate = f", {_amount(flops * config.train.batch_size / step.seconds)}FLOP/s" if flops else ""
    rows.append(
        ("time", f"{step.seconds:.3g} s per step{rate}; {prediction.seconds:.3g} s per evaluation step (on zeros)")
    )
    if known.steps_per_epoch is not None:
        training = known.steps_per_epoch * config.train.epochs * step.seconds
        text = f"{_clock(training)} of training"
        count = sum(is_evaluated(epoch, config.train) for epoch in range(1, config.train.epochs + 1))
        if count and known.test_windows is not None:
            calls = -(-known.test_windows // (config.test.batch_size * jax.local_device_count()))
            text += f", {_clock(count * calls * prediction.seconds)} of {count} evaluations"
        rows.append(("hours", f"{text}; reading of videos that the devices wait for is not counted"))
    return rows


def _memory(need: Need | None, device: jax.Device) -> str:
    if need is None:
        return "not told by this backend"
    available = memory_available(device)
    of = "the device does not tell how much it has"
    if available is not None:
        of = f"of {_amount(available, 1024)}B{' free' if device.platform == 'cpu' else ''}"
        if need.total > available:
            of += ": TOO MUCH"
    return (
        f"{_amount(need.total, 1024)}B per device ({of}): {_amount(need.arguments, 1024)}B arguments, "
        f"{_amount(need.temporaries, 1024)}B temporaries, {_amount(need.outputs, 1024)}B outputs, compiled for "
        f"{device.platform}"
    )


def _folder(workdir: Path, shapes: Shapes, config: Config) -> str:
    """Says what a run would write."""
    state = shapes.state
    frozen = jax.eval_shape(lambda tree: jax.tree.map(lambda leaf: leaf.astype("float32"), tree), state.frozen)
    checkpoint = bytes_of((state.trained, state.average, state.optimizer))
    path = workdir.absolute()
    existing = next(parent for parent in (path, *path.parents) if parent.is_dir())
    start = "holds a run, which would go on" if has_checkpoint(workdir) else "a run would start"
    return (
        f"{workdir}: {start}: {CONFIG_FILE}, {HISTORY_FILE}, {FROZEN_FOLDER}/ ({_amount(bytes_of(frozen), 1024)}B), "
        f"{CHECKPOINTS_FOLDER}/ ({_amount(checkpoint, 1024)}B each, {config.train.keep_checkpoints} or more kept), and "
        "small files; "
        f"{_amount(shutil.disk_usage(existing).free, 1024)}B free there"
    )


def _abstract(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)


def _rows(tree: Any, rows: int) -> Any:
    """Returns the shapes of `rows` windows from those of one, `[1, ...]`."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((rows, *leaf.shape[1:]), leaf.dtype), tree)


def _on_each(tree: Any, devices: int) -> Any:
    """Returns the shapes with a leading device axis."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((devices, *leaf.shape), leaf.dtype), tree)


def _zeros(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), tree)


def _clock(seconds: float) -> str:
    """Formats a time as h:mm:ss, with days in front if there are any."""
    return str(datetime.timedelta(seconds=round(seconds)))


def _amount(number: float, base: int = 1000) -> str:
    """Formats a number with a prefix of units: "3.21 T", or "3.21 Ti" to the base 1024."""
    for prefix in ("", "k", "M", "G", "T", "P"):
        if number < base or prefix == "P":
            break
        number /= base
    binary = "i" if base == 1024 and prefix else ""
    return f"{number:.3g} {prefix.upper() if binary else prefix}{binary}"
