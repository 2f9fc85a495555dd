"""This package's side of a case: the compiled training step and prediction, as its pipelines compile them."""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from rich.console import Console

from adatad_jax.annotations.format_keys import AUTO
from adatad_jax.config.fields import Config
from adatad_jax.config.memory import CHOSEN, given_policy
from adatad_jax.data.batch import Batch
from adatad_jax.devices.choice import Sharing, set_precision
from adatad_jax.devices.memory import Need, memory_needed
from adatad_jax.devices.placing import place, replicate
from adatad_jax.inference.fitting import inference_policy
from adatad_jax.inference.predictor import map_prediction
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.models.policy import MemoryPolicy
from adatad_jax.pipelines.fitting import training_policy
from adatad_jax.pipelines.task import Plan
from adatad_jax.pipelines.train_detector import make_plan
from adatad_jax.training.parameters import merge, split, with_frozen_in
from adatad_jax.training.state import TrainState, create_state
from adatad_jax.weights.initialize import initial_shapes
from benchmarks.run.cases import CLASSES, STEPS_PER_EPOCH, Case, random_parameters


class Shapes(NamedTuple):
    """What is compiled, and the shapes and dtypes that it takes.

    Attributes:
      plan: of the training.
      state: of the training.
      batch: of one device, without a device axis.
    """

    plan: Plan[AdaTAD]
    state: TrainState
    batch: Batch


class Program(NamedTuple):
    """A compiled program.

    Attributes:
      call: the executable.
      need: of memory; None where the backend does not tell.
      seconds: that lowering and compiling took.
    """

    call: Callable[..., Any]
    need: Need | None
    seconds: float


def plan_case(case: Case, device: jax.Device, *, is_training: bool = True, **model: Any) -> Shapes:
    """Returns what a case compiles, without making any array.

    Args:
      case: the work.
      device: that computes.
      is_training: whether a training is to fit the device, or inference alone.
      model: fields of the model that differ from the defaults. What decides on memory is chosen as in a training, or as
        in inference, where it is not given.

    Raises:
      UserError: the work does not fit the device.
    """
    config, sharing = case.config(**model), Sharing((device,))
    jax.config.update("jax_default_matmul_precision", None)  # another case may have been float32
    set_precision(config.model.dtype)
    policy = _policy(config, sharing, is_training)
    return plan_config(config, policy, sharing, CLASSES, STEPS_PER_EPOCH, case.windows())


def plan_config(
    config: Config, policy: MemoryPolicy, sharing: Sharing, classes: int, steps_per_epoch: int, windows: Batch
) -> Shapes:
    """Returns what the training of a configuration compiles, without making any array.

    Args:
      config, policy, sharing, classes, steps_per_epoch: as for `make_plan`.
      windows: a batch of one device.
    """
    plan = make_plan(config, policy, sharing, classes, steps_per_epoch)
    shapes = initial_shapes(plan.model, config)
    shapes = jax.eval_shape(lambda tree: with_frozen_in(tree, plan.frozen_dtype, plan.groups), shapes)
    trained, frozen = split(shapes, plan.groups)
    create = functools.partial(create_state, optimizer=plan.optimizer, normalizer=plan.normalizer, seed=config.seed)
    batch = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), windows)
    return Shapes(plan, jax.eval_shape(create, trained, frozen), batch)


def _policy(config: Config, sharing: Sharing, is_training: bool) -> MemoryPolicy:
    """Returns what a configuration gives if it leaves nothing open, whether it fits or not; or else chooses."""
    if all(getattr(config.model, name) != AUTO for name in CHOSEN):
        return given_policy(config.model)
    if is_training:
        return training_policy(config, sharing, CLASSES, None, Console(quiet=True)).policy
    return inference_policy(config, CLASSES, config.train.batch_size).policy


def compile_step(shapes: Shapes) -> Program:
    """Compiles the training step."""
    return _compile(shapes.plan.step, shapes.state, _on_device(shapes.batch))


def compile_forward(shapes: Shapes) -> Program:
    """Compiles the prediction of windows, from frames to segments and scores."""
    params = merge(shapes.state.trained, shapes.state.frozen)
    function = map_prediction(shapes.plan.model, shapes.plan.devices)
    return _compile(function, params, *_on_device((shapes.batch.frames, shapes.batch.mask)))


def _compile(function: Any, *arguments: Any) -> Program:
    start = time.perf_counter()
    compiled = function.lower(*arguments).compile()
    return Program(compiled, memory_needed(compiled), time.perf_counter() - start)


def _on_device(tree: Any) -> Any:
    """Returns shapes with the device axis of a mapped function."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape), leaf.dtype), tree)


class Step:
    """Training steps of a case, one after the other."""

    def __init__(self, program: Program, shapes: Shapes, batch: Batch) -> None:
        """Places parameters and windows on the device."""
        devices, plan = shapes.plan.devices, shapes.plan
        params = random_parameters(merge(shapes.state.trained, shapes.state.frozen))
        self._state = replicate(create_state(*split(params, plan.groups), plan.optimizer, 100.0, 0), devices)
        self._batch = place([batch], devices)
        self._call = program.call
        jax.block_until_ready((self._state, self._batch))

    def __call__(self, calls: int) -> float:
        """Takes steps; returns the seconds until the last one has ended."""
        start = time.perf_counter()
        for _ in range(calls):
            self._state, _ = self._call(self._state, self._batch)
        jax.block_until_ready(self._state)
        return time.perf_counter() - start


class Forward:
    """Predictions of a case's windows."""

    def __init__(self, program: Program, shapes: Shapes, batch: Batch) -> None:
        """Places parameters on the device."""
        self._devices = shapes.plan.devices
        self._params = replicate(random_parameters(merge(shapes.state.trained, shapes.state.frozen)), self._devices)
        self._batch, self._call = batch, program.call

    def __call__(self, calls: int) -> float:
        """Predicts as often; returns the seconds of it. Frames are placed before."""
        placed = [place([(self._batch.frames, self._batch.mask)], self._devices) for _ in range(calls)]
        jax.block_until_ready((self._params, placed))
        start = time.perf_counter()
        found = [self._call(self._params, frames, mask) for frames, mask in placed]
        jax.block_until_ready(found)
        return time.perf_counter() - start
