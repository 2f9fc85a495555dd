"""What a training has to know of its task; `pipelines.training` has the course that all tasks share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import jax
import numpy as np
import optax
from rich.console import Console

from adatad_jax.config.run_fields import RunConfig
from adatad_jax.data.loader import Loaded
from adatad_jax.devices.choice import Sharing
from adatad_jax.devices.processes import Processes
from adatad_jax.models.layers import Params
from adatad_jax.training.parameters import Grouping
from adatad_jax.training.step import Step
from adatad_jax.weights.changes import Changes
from adatad_jax.weights.initialize import Initial

ModelT = TypeVar("ModelT")


class Run(NamedTuple):
    """What makes a run the run that it is, beside its checkpoints.

    Attributes:
      workdir: its folder.
      config: without open fields.
      classes: the model's class names; none where a task has no classes.
      order: what the order of the samples in every epoch depends on, as JSON values; `steps_per_epoch` is among it.
      videos: fingerprints of the training videos.
      changes: of the run as its folder holds it.
    """

    workdir: Path
    config: RunConfig
    classes: tuple[str, ...]
    order: dict[str, Any]
    videos: dict[str, str]
    changes: Changes


class Plan(NamedTuple, Generic[ModelT]):
    """What a training computes with.

    Attributes:
      devices: that share a batch.
      model: as one device computes it.
      memory: what was chosen of the policy of memory, as JSON values by field.
      groups: of the parameters.
      optimizer: of the trained parameters.
      rates: group of parameters that may learn -> `[steps]` learning rates of all steps, the one to show first.
      peaks: the same group -> its highest rate.
      weight_decay: of the parameters that decay.
      step: the training step, mapped over the devices.
      normalizer: the loss normaliser before the first step.
      frozen_dtype: in which devices keep the kernels of frozen parameters.
      rate_fields: options that set the rates, for messages.
    """

    devices: tuple[jax.Device, ...]
    model: ModelT
    memory: Mapping[str, Any]
    groups: Grouping
    optimizer: optax.GradientTransformation
    rates: Mapping[str, np.ndarray]
    peaks: Mapping[str, float]
    weight_decay: float
    step: Step
    normalizer: float
    frozen_dtype: str
    rate_fields: Sequence[str]

    @property
    def steps(self) -> int:
        """Returns the number of steps of the run."""
        return len(next(iter(self.rates.values())))


class Measuring(NamedTuple):
    """How a training evaluates.

    Attributes:
      measure: returns what an epoch's record holds of a whole parameter tree on the devices (`training.evaluating`).
      pictures: name -> PNG file of the latest evaluation; `measure` replaces its entries.
    """

    measure: Callable[[Params], dict[str, Any]]
    pictures: Mapping[str, Path]


class BatchSource(Protocol):
    """The training batches of a run, from any step on (`data.loader`).

    Attributes:
      steps_per_epoch: number of batches per epoch.
    """

    steps_per_epoch: int

    def from_step(self, first: int, end: int) -> Iterator[Loaded]:
        """Starts to load, and returns an iterator of the batches of steps `first`, ..., `end - 1`."""
        ...


class Task(ABC, Generic[ModelT]):
    """A training of some task, whose inputs are read and checked.

    Attributes:
      run: what the run's folder must agree with.
      fingerprints: subset -> fingerprints of its videos.
      sharing: how devices share a batch.
      batches: of the training samples.
      samples: number of samples of an epoch.
      frames: of a sample.
      segments: where the segments to learn come from, for a message.
    """

    run: Run
    fingerprints: Mapping[str, Mapping[str, str]]
    sharing: Sharing
    batches: BatchSource
    samples: int
    frames: int
    segments: str

    @abstractmethod
    def describe(self) -> str:
        """Returns what there is to learn from, in words."""

    @abstractmethod
    def planner(
        self, kept: Mapping[str, Any] | None, console: Console, processes: Processes
    ) -> Callable[[int], Plan[ModelT]]:
        """Chooses how the training fits its devices.

        Args:
          kept: what the run was computed with so far (`read_policy`); None: it has not begun.
          console: where to report.
          processes: that train together.

        Returns:
          A function from the shift of the schedule (`OptimizerConfig`) to the plan.

        Raises:
          UserError: it does not fit; by the function: the schedule of the learning rates is impossible.
        """

    @abstractmethod
    def initialize(self, plan: Plan[ModelT]) -> Initial:
        """Returns the parameters before the first step; raises `UserError` if the weights are missing or do not fit."""

    @abstractmethod
    def parameter_shapes(self, plan: Plan[ModelT]) -> Params:
        """Returns the whole tree as shapes and dtypes, without what only weights bring."""

    @abstractmethod
    def check_parameters(self, plan: Plan[ModelT], params: Params) -> None:
        """Raises `UserError` if parameters of the run's folder have other shapes than the model's."""

    def prepare(self, plan: Plan[ModelT], frozen: Params, processes: Processes, console: Console) -> None:
        """Does what must be done once between the choice of the parameters and the first step."""

    @abstractmethod
    def filler(self) -> Any:
        """Returns a batch of one row that only fills up, `[1, ...]`: its arrays have the shapes of a row."""

    @abstractmethod
    def measuring(self, plan: Plan[ModelT], console: Console, processes: Processes) -> Measuring | None:
        """Returns how the run evaluates; None if it does not."""
