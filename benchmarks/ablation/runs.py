"""The trainings of the ablation: each arm on each seed, trained, evaluated and measured once."""

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from filelock import FileLock
from rich.console import Console

from adatad_jax.annotations.format_keys import AUTO
from adatad_jax.config.fields import Config
from adatad_jax.config.memory import given_policy
from adatad_jax.data.batch import Batch
from adatad_jax.demo.dataset import SUBSETS
from adatad_jax.demo.run import demo_config, make_data
from adatad_jax.devices.choice import Sharing
from adatad_jax.devices.memory import memory_needed
from adatad_jax.errors import UserError
from adatad_jax.files import write_text
from adatad_jax.pipelines.evaluate_detector import evaluate
from adatad_jax.pipelines.train_detector import check_inputs, train
from adatad_jax.weights.run_folder import check_config
from benchmarks.ablation.arms import ARMS, arm_config
from benchmarks.run.ours import Shapes, Step, compile_step, plan_config

OUTCOME_FILE = "outcome.json"
TIOU = 0.5
TURNS = 40  # of timed steps


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a training came to.

    Attributes:
      arm: of `ARMS`.
      seed: of videos, first parameters and draws.
      map_50, average_map: on the test videos, fractions.
      trained: number of trained parameters.
      step_bytes: memory of the compiled training step on one device; None where the backend does not tell.
      seconds: that training and evaluation took, in the start that finished them.
    """

    arm: str
    seed: int
    map_50: float
    average_map: float
    trained: int
    step_bytes: int | None
    seconds: float


class Budget(NamedTuple):
    """What every arm is given.

    Attributes:
      epochs: of training; None: as many as the demo.
      train_videos, test_videos: that are made for each seed.
    """

    epochs: int | None
    train_videos: int
    test_videos: int


def run_all(
    arms: Sequence[str], seeds: Sequence[int], budget: Budget, workdir: Path, console: Console
) -> Iterator[Outcome]:
    """Yields the outcome of each arm on each seed; finished ones are read from their folders, not trained again.

    Args:
      arms: of `ARMS`.
      seeds: of which each makes videos of its own, which its arms share.
      budget: of each arm.
      workdir: folder for everything; a start that ended early is continued.
      console: where to report.

    Raises:
      UserError: the folder holds data or runs of another budget.
    """
    wanted = [(arm, seed) for seed in seeds for arm in arms]
    found: list[Outcome] = []
    for number, (arm, seed) in enumerate(wanted):
        folder = workdir / f"seed_{seed}"
        left = expected_minutes(found, wanted[number:])
        console.rule(f"{number + 1} of {len(wanted)}: {ARMS[arm].name}, seed {seed}{left}")
        make_seed(folder, seed, budget, console)
        config = arm_config(demo_config(folder, seed, budget.epochs), ARMS[arm], folder)
        found.append(outcome(arm, config, folder / arm, console))
        yield found[-1]


def make_seed(folder: Path, seed: int, budget: Budget, console: Console) -> None:
    """Makes the data and the weights of a seed, where they are missing.

    Raises:
      UserError: the folder holds another number of videos.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):  # several starts may share a folder, each with arms of its own
        make_data(folder, seed, budget.train_videos, budget.test_videos, console)
    database = json.loads((folder / "data/annotations.json").read_text())["database"]
    counts = Counter(entry["subset"] for entry in database.values())
    if [counts[subset] for subset in SUBSETS] != [budget.train_videos, budget.test_videos]:
        raise UserError(
            f"{folder / 'data'}: {counts[SUBSETS[0]]} training and {counts[SUBSETS[1]]} test videos, expected "
            f"{budget.train_videos} and {budget.test_videos}; give another --workdir, or the same numbers"
        )


def expected_minutes(found: Sequence[Outcome], left: Sequence[tuple[str, int]]) -> str:
    """Returns how long the trainings that are left will take, in words; empty before anything is known.

    An arm takes as long as on the seeds before, or as the others on average.
    """
    if not found:
        return ""
    own = {arm: [one.seconds for one in found if one.arm == arm] for arm, _ in left}
    every = [one.seconds for one in found]
    seconds = sum(float(np.mean(own[arm] or every)) for arm, _ in left)
    return f"; about {seconds / 60:.0f} min left"


def outcome(arm: str, config: Config, folder: Path, console: Console) -> Outcome:
    """Trains, evaluates and measures an arm on a seed, or reads what came out before.

    Args:
      arm: of `ARMS`.
      config: of the arm on the seed.
      folder: of the training.
      console: where to report.

    Raises:
      UserError: the folder holds a run of another configuration.
    """
    path = folder / OUTCOME_FILE
    if path.exists():
        check_config(folder, config)
        content = json.loads(path.read_text())  # one of an earlier version may have more
        before = Outcome(**{field.name: content[field.name] for field in dataclasses.fields(Outcome)})
        console.print(f"{path}: finished before, average mAP {100 * before.average_map:.2f}")
        return before
    start = time.perf_counter()
    train(config, folder, console)
    metrics = evaluate(config, folder, console)
    seconds = time.perf_counter() - start
    trained, step_bytes = measure_step(config, folder)
    done = Outcome(
        arm=arm,
        seed=config.seed,
        map_50=float(metrics.map[metrics.tious.index(TIOU)]),
        average_map=metrics.average_map,
        trained=trained,
        step_bytes=step_bytes,
        seconds=round(seconds, 1),
    )
    write_text(path, json.dumps(dataclasses.asdict(done), indent=1) + "\n")
    return done


def measure_step(config: Config, folder: Path) -> tuple[int, int | None]:
    """Compiles the training step of a run for one device.

    Returns:
      The number of trained parameters, and the bytes that the step needs; None where the backend does not tell.
    """
    shapes, _ = step_shapes(config, folder)
    need = memory_needed(compile_step(shapes).call)
    trained = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes.state.trained))
    return trained, None if need is None else need.total


def step_shapes(config: Config, folder: Path) -> tuple[Shapes, Batch]:
    """Returns what a run compiles for one device, and its first batch."""
    assert AUTO not in (config.model.remat, config.model.attention_chunks, config.model.mlp_chunks)
    inputs = check_inputs(config, folder, Console(quiet=True))
    batch: Any = next(inputs.batches.from_step(0, 1)).batch
    sharing, classes = Sharing((jax.devices()[0],)), len(inputs.classes)
    steps_per_epoch = inputs.batches.steps_per_epoch
    return plan_config(config, given_policy(config.model), sharing, classes, steps_per_epoch, batch), batch


def time_steps(arms: Sequence[str], demo: Config, folder: Path) -> dict[str, float]:
    """Times the training step of each arm on one device, in turns: arm -> median, seconds.

    Args:
      arms: of `ARMS`.
      demo: the demo's configuration, of a seed.
      folder: of the seed, with the runs of these arms.
    """
    steps = {}
    for arm in arms:
        shapes, batch = step_shapes(arm_config(demo, ARMS[arm], folder), folder / arm)
        steps[arm] = Step(compile_step(shapes), shapes, batch)
        steps[arm](1)  # the first is slower
    seconds = [{arm: step(1) for arm, step in steps.items()} for _ in range(TURNS)]
    return {arm: float(np.median([turn[arm] for turn in seconds])) for arm in arms}
