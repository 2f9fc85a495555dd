"""A small training state, and run folders with checkpoints of it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from adatad_jax.training import checkpoints
from adatad_jax.training.history import write_history
from adatad_jax.training.state import TrainState


def array(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


TRAINED = {"backbone": {"blocks_0_1": {"tia": {"gamma": array(1, 2)}}}, "detector": {"head": {"scale": array(3)}}}
FROZEN = {"backbone": {"blocks_0_1": {"attn": {"q_bias": array(4, 5)}}, "patch_embed": {"bias": array(6)}}}
STATE = TrainState(
    step=np.int32(5),  # type: ignore[arg-type]
    trained=TRAINED,
    frozen=FROZEN,
    average=jax.tree.map(lambda leaf: leaf + 10, TRAINED),
    optimizer={"mean": array(7), "square": array(8, 9)},
    normalizer=np.float32(99),  # type: ignore[arg-type]
    key=np.array([0, 1], np.uint32),  # type: ignore[arg-type]
)


def state_after(step: int, numbers: int = 2) -> TrainState:
    """A state whose average tells the step; `numbers` is the size of an array of it that cannot be compressed."""
    noise = np.random.default_rng(step).integers(0, 2**32, numbers, np.uint32).view(np.float32)
    average = {**STATE.average, "step": array(step)}
    trained = {**STATE.trained, "step": array(step)}
    return STATE._replace(step=np.int32(step), trained=trained, average=average, optimizer=[noise])  # type: ignore[arg-type]


def write_old(workdir: Path, step: int, items: Mapping[str, Any], metadata: dict[str, Any]) -> None:
    """Writes a checkpoint as version 0.1 did: `params`, `ema` and `progress`, with the library alone."""
    handlers = {**{name: ocp.StandardCheckpointHandler() for name in items}, "metadata": ocp.JsonCheckpointHandler()}
    with ocp.CheckpointManager((workdir / "checkpoints").absolute(), item_handlers=handlers) as manager:
        args = {name: ocp.args.StandardSave(tree) for name, tree in items.items()}
        manager.save(step, args=ocp.args.Composite(**args, metadata=ocp.args.JsonSave(metadata)))


def write_run(workdir: Path, steps: Iterable[int], scores: dict[int, float] | None = None) -> None:
    """Writes checkpoints, and a history with an epoch every 10 steps, with an mAP at the steps of `scores`."""
    steps, scores = list(steps), scores or {}
    records: list[dict[str, Any]] = []
    for step in range(10, max(steps) + 1, 10):
        score = {"average_mAP": scores[step]} if step in scores else {}
        records.append({"epoch": step // 10, "step": step, **score})
    with checkpoints.open_manager(workdir, keep=len(steps)) as manager:
        for step in steps:
            tally = {"steps": step % 10} if step % 10 else {}
            checkpoints.save(manager, step, state_after(step), {"epoch": step // 10, "tally": tally})
    write_history(workdir, records)
