"""Orbax checkpoints of a run's training state.

A checkpoint holds four items: `trained` and `average` (trees of the trained parameters alone), `progress` (the rest of
the training state) and `metadata` (JSON). They are separate so that inference need not read the optimiser's state.
A checkpoint does not hold frozen parameters: a run folder holds these once (`weights.frozen`).

Checkpoints of version 0.1 can also be read. They hold `params`, the whole tree, and `ema`, path -> average.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import flax.traverse_util
import jax
import numpy as np
import orbax.checkpoint as ocp

from adatad_jax.errors import UserError, one_line
from adatad_jax.models.layers import Params
from adatad_jax.training.state import TrainState

CHECKPOINTS_FOLDER = "checkpoints"
DIFFERENCES_SHOWN = 20
TREES = ("trained", "average", "progress")
OLD_TREES = ("params", "ema", "progress")


class Saved(NamedTuple):
    """What a checkpoint holds, on the host.

    Attributes:
      trained: the trained parameters.
      average: the exponential average of the trained parameters.
      frozen: the frozen parameters in a checkpoint of version 0.1, else None.
      progress: `step`, `optimizer` (the leaves of its state), `normalizer` and `key` of `TrainState`.
      metadata: as given to `save`, and `frozen`, the number of frozen arrays that the run folder holds.
    """

    trained: Params
    average: Params
    frozen: Params | None
    progress: dict[str, Any]
    metadata: dict[str, Any]


def open_manager(workdir: Path, keep: int | None = None) -> ocp.CheckpointManager:
    """Opens the checkpoints of a run folder, which are named by step.

    Args:
      workdir: the run folder.
      keep: number of checkpoints that are kept; None opens existing checkpoints and creates no folder.
    """
    trees = {name: ocp.StandardCheckpointHandler() for name in {*TREES, *OLD_TREES}}
    return ocp.CheckpointManager(
        (workdir / CHECKPOINTS_FOLDER).absolute(),
        item_handlers={**trees, "metadata": ocp.JsonCheckpointHandler()},
        options=ocp.CheckpointManagerOptions(max_to_keep=keep, create=keep is not None),
    )


def save(manager: ocp.CheckpointManager, step: int, state: TrainState, metadata: dict[str, Any]) -> None:
    """Writes a checkpoint in the background. A checkpoint counts only once it is whole.

    Args:
      manager: from `open_manager`.
      step: number of steps taken.
      state: after these steps.
      metadata: JSON values; `epoch`, the number of whole epochs, is among them.

    Raises:
      UserError: this checkpoint or the one before cannot be written.
    """
    # Copied to the host first: the next step donates these buffers while the background thread still writes.
    trained, average, progress = jax.tree.map(np.array, (state.trained, state.average, _progress(state)))
    items = ocp.args.Composite(
        trained=ocp.args.StandardSave(trained),
        average=ocp.args.StandardSave(average),
        progress=ocp.args.StandardSave(progress),
        metadata=ocp.args.JsonSave({**metadata, "frozen": len(jax.tree.leaves(state.frozen))}),
    )
    with _written(manager):
        manager.save(step, args=items)


def finish(manager: ocp.CheckpointManager) -> None:
    """Waits until all checkpoints are written; raises `UserError` if one cannot be."""
    with _written(manager):
        manager.wait_until_finished()


def read(manager: ocp.CheckpointManager, step: int) -> Saved:
    """Reads the checkpoint after `step` steps.

    Raises:
      UserError: the checkpoint is damaged.
    """
    with _readable(manager.directory / str(step)):
        shapes = manager.item_metadata(step)
        is_old = shapes.get("params") is not None
        names = OLD_TREES if is_old else TREES
        args = {name: ocp.args.StandardRestore(_abstract(shapes[name].tree)) for name in names}
        found = manager.restore(step, args=ocp.args.Composite(**args, metadata=ocp.args.JsonRestore()))
        trees = {name: jax.tree.map(np.asarray, found[name]) for name in names}
        metadata = dict(found["metadata"])
        return _from_old(trees, metadata) if is_old else Saved(frozen=None, metadata=metadata, **trees)


def has_checkpoint(workdir: Path) -> bool:
    """Tells whether a run folder holds a finished checkpoint."""
    if not (workdir / CHECKPOINTS_FOLDER).is_dir():
        return False
    with open_manager(workdir) as manager:
        return manager.latest_step() is not None


def read_latest(workdir: Path) -> Saved:
    """Reads the latest checkpoint of a run folder.

    Raises:
      UserError: there is no finished checkpoint, or the latest one is damaged.
    """
    if not (workdir / CHECKPOINTS_FOLDER).is_dir():
        raise UserError(f"{workdir}: no checkpoint here yet ({CHECKPOINTS_FOLDER}/ is missing): train first")
    with open_manager(workdir) as manager:
        step = manager.latest_step()
        if step is None:
            raise UserError(f"{workdir / CHECKPOINTS_FOLDER}: holds no finished checkpoint: train first")
        return read(manager, step)


def restore_state(saved: Saved, frozen: Params, like: TrainState, where: Path) -> TrainState:
    """Returns the state that a checkpoint holds, on the host.

    Args:
      saved: the checkpoint as read.
      frozen: the frozen parameters.
      like: a state of the same structure, such as a fresh one, or its shapes.
      where: path of the checkpoint, for messages.

    Raises:
      UserError: the checkpoint has another structure or other shapes. Every array that differs is listed.
    """
    wanted = {"trained": like.trained, "average": like.average, "progress": _progress(like)}
    found = {"trained": saved.trained, "average": saved.average, "progress": saved.progress}
    ours, theirs = _shapes(wanted), _shapes(found)
    problems = [
        f"{path}: the checkpoint has {theirs.get(path)}, the model {ours.get(path)}"
        for path in sorted(ours.keys() | theirs.keys())
        if ours.get(path) != theirs.get(path)
    ]
    if problems:
        raise UserError(
            f"{where}: does not fit this model: {len(problems)} arrays differ:\n  "
            + "\n  ".join(problems[:DIFFERENCES_SHOWN])
        )
    return TrainState(
        step=saved.progress["step"],
        trained=saved.trained,
        frozen=frozen,
        average=saved.average,
        optimizer=jax.tree.unflatten(jax.tree.structure(like.optimizer), saved.progress["optimizer"]),
        normalizer=saved.progress["normalizer"],
        key=saved.progress["key"],
    )


def _progress(state: TrainState) -> dict[str, Any]:
    """Returns the item `progress` of a checkpoint."""
    return {
        "step": state.step,
        "optimizer": list(jax.tree.leaves(state.optimizer)),
        "normalizer": state.normalizer,
        "key": state.key,
    }


def _from_old(trees: dict[str, Any], metadata: dict[str, Any]) -> Saved:
    """Converts a checkpoint of version 0.1, in which exactly the trained parameters have an average."""
    leaves = flax.traverse_util.flatten_dict(trees["params"], sep="/")
    averages = trees["ema"]
    return Saved(
        trained=_nested({path: leaves[path] for path in averages}),
        average=_nested(averages),
        frozen=_nested({path: leaf for path, leaf in leaves.items() if path not in averages}),
        progress={"optimizer" if name == "opt_state" else name: leaf for name, leaf in trees["progress"].items()},
        metadata=metadata,
    )


def _nested(flat: dict[str, Any]) -> Params:
    nested: Params = flax.traverse_util.unflatten_dict(flat, sep="/")
    return nested


def _abstract(tree: Any) -> Any:
    """Returns shapes and dtypes on the first device, so that checkpoints of any machine can be read."""
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Returns `a/b/c` -> shape."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape) for path, leaf in leaves}


@contextlib.contextmanager
def _readable(path: object) -> Iterator[None]:
    """Turns any exception of the library over a damaged checkpoint into a `UserError`."""
    try:
        yield
    except Exception as error:
        raise UserError(
            f"{path}: this checkpoint is damaged ({type(error).__name__}: {one_line(error)}); delete its folder, and "
            "the one before it is used"
        ) from error


@contextlib.contextmanager
def _written(manager: ocp.CheckpointManager) -> Iterator[None]:
    """Turns any exception of the library over a failed write into a `UserError`."""
    try:
        yield
    except Exception as error:
        raise UserError(
            f"{manager.directory}: a checkpoint cannot be written ({type(error).__name__}: {one_line(error)}); make "
            "room, and start again: the checkpoints before it are whole"
        ) from error
