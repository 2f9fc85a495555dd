"""A run's folder: its configuration and its Orbax checkpoints.

A checkpoint holds three items, so that inference reads what it needs and nothing of the optimiser: `params` (the whole
tree), `ema` (path -> averaged trainable parameter), `progress` (the rest of the training state); and `metadata` (JSON).
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import numpy as np
import orbax.checkpoint as ocp

from adatad_jax.errors import UserError, one_line
from adatad_jax.training.optimizer import trained_like
from adatad_jax.training.step import TrainState

Params = Any

CHECKPOINTS_FOLDER = "checkpoints"
DIFFERENCES_SHOWN = 20
TREES = ("params", "ema", "progress")


def open_manager(workdir: Path, keep: int | None = None) -> ocp.CheckpointManager:
    """The checkpoints of a folder, by epoch; `keep` limits how many stay."""
    trees = {name: ocp.StandardCheckpointHandler() for name in TREES}
    return ocp.CheckpointManager(
        (workdir / CHECKPOINTS_FOLDER).absolute(),
        item_handlers={**trees, "metadata": ocp.JsonCheckpointHandler()},
        options=ocp.CheckpointManagerOptions(max_to_keep=keep, create=keep is not None),
    )


def flat_trainable(tree: Params) -> dict[str, Any]:
    """`a/b/c` -> leaf of a tree with `optax.MaskedNode()` in the frozen places."""
    flat = flax.traverse_util.flatten_dict(tree, sep="/")
    return {path: leaf for path, leaf in flat.items() if hasattr(leaf, "shape")}


@contextlib.contextmanager
def _readable(path: object) -> Iterator[None]:
    """Turns whatever the library raises over a damaged checkpoint into words."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{path}: this checkpoint is damaged ({type(error).__name__}: {one_line(error)}); delete its folder, and "
            "the one before it is used"
        ) from error


def _progress(state: TrainState) -> dict[str, Any]:
    return {
        "step": state.step,
        "opt_state": list(jax.tree.leaves(state.opt_state)),
        "normalizer": state.normalizer,
        "key": state.key,
    }


def save(manager: ocp.CheckpointManager, step: int, state: TrainState, metadata: dict[str, Any]) -> None:
    """Writes the state after `step` steps, in the background; it counts only once it is whole.

    `metadata` (JSON) holds at least `epoch`, the number of whole epochs.

    Raises:
      UserError: this one or the one before cannot be written.
    """
    # Copied to the host first: the next step donates these very buffers while the background still writes.
    state = jax.tree.map(np.array, state)
    items = ocp.args.Composite(
        params=ocp.args.StandardSave(state.params),
        ema=ocp.args.StandardSave(flat_trainable(state.ema)),
        progress=ocp.args.StandardSave(_progress(state)),
        metadata=ocp.args.JsonSave(metadata),
    )
    with _written(manager):
        manager.save(step, args=items)


def finish(manager: ocp.CheckpointManager) -> None:
    """Waits until everything is written; raises as `save`."""
    with _written(manager):
        manager.wait_until_finished()


@contextlib.contextmanager
def _written(manager: ocp.CheckpointManager) -> Iterator[None]:
    """Turns whatever the library raises when it cannot write into words."""
    try:
        yield
    except Exception as error:
        raise UserError(
            f"{manager.directory}: a checkpoint cannot be written ({type(error).__name__}: {one_line(error)}); make "
            "room, and start again: the checkpoints before it are whole"
        ) from error


def _abstract(tree: Any) -> Any:
    """Shapes and dtypes on the first device, so that a checkpoint of any machine can be read on this one."""
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)


def restore_state(manager: ocp.CheckpointManager, step: int, like: TrainState) -> tuple[TrainState, dict[str, Any]]:
    """Reads the state after `step` steps back, on the host, and the metadata that were saved with it.

    Args:
      manager: the folder's checkpoints.
      step: which one.
      like: a state of the same structure, such as a fresh one.

    Raises:
      UserError: the checkpoint is of another structure or size.
    """
    with _readable(manager.directory / str(step)):
        return _restore_state(manager, step, like), _metadata(manager, step)


def _metadata(manager: ocp.CheckpointManager, step: int) -> dict[str, Any]:
    found = manager.restore(step, args=ocp.args.Composite(metadata=ocp.args.JsonRestore()))
    return dict(found["metadata"])


def _restore_state(manager: ocp.CheckpointManager, step: int, like: TrainState) -> TrainState:
    wanted = {"params": like.params, "ema": flat_trainable(like.ema), "progress": _progress(like)}
    saved = manager.item_metadata(step)
    problems = [line for name, tree in wanted.items() for line in _differences(name, tree, saved[name])]
    if problems:
        raise UserError(
            f"{manager.directory}/{step}: does not fit this model: {len(problems)} arrays differ:\n  "
            + "\n  ".join(problems[:DIFFERENCES_SHOWN])
        )
    args = {name: ocp.args.StandardRestore(_abstract(tree)) for name, tree in wanted.items()}
    restored = manager.restore(step, args=ocp.args.Composite(**args))
    found = jax.device_get({name: restored[name] for name in wanted})
    progress = found["progress"]
    return TrainState(
        step=progress["step"],
        params=found["params"],
        ema=_fill(like, found["ema"]),
        opt_state=jax.tree.unflatten(jax.tree.structure(like.opt_state), progress["opt_state"]),
        normalizer=progress["normalizer"],
        key=progress["key"],
    )


def _differences(item: str, tree: Any, saved: Any) -> list[str]:
    """A line for every array of `tree` that the saved item lacks or has in another shape."""
    if saved is None:
        return [f"{item}: missing"]

    def shapes(tree: Any) -> dict[str, tuple[int, ...]]:
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return {jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape) for path, leaf in leaves}

    ours, theirs = shapes(tree), shapes(saved.tree)
    return [
        f"{item}/{path}: the checkpoint has {theirs.get(path)}, the model {ours.get(path)}"
        for path in sorted(ours.keys() | theirs.keys())
        if ours.get(path) != theirs.get(path)
    ]


def _fill(like: TrainState, flat: dict[str, Any]) -> Params:
    """The average of a state shaped as `like`, its leaves being those of `flat`."""
    leaves = flax.traverse_util.flatten_dict(like.params, sep="/")
    return trained_like(like.ema, flax.traverse_util.unflatten_dict({**leaves, **flat}, sep="/"))


def restore_items(workdir: Path, *names: str) -> tuple[dict[str, Any], int]:
    """The named items of a run's latest checkpoint (see the top of this file) as numpy trees, and its whole epochs.

    Raises:
      UserError: there is no finished checkpoint, or it is damaged.
    """
    if not (workdir / CHECKPOINTS_FOLDER).is_dir():
        raise UserError(f"{workdir}: no checkpoint here yet ({CHECKPOINTS_FOLDER}/ is missing): train first")
    with open_manager(workdir) as manager:
        step = manager.latest_step()
        if step is None:
            raise UserError(f"{workdir / CHECKPOINTS_FOLDER}: holds no finished checkpoint: train first")
        with _readable(manager.directory / str(step)):
            shapes = manager.item_metadata(step)
            args = {name: ocp.args.StandardRestore(_abstract(shapes[name].tree)) for name in names}
            found = manager.restore(step, args=ocp.args.Composite(**args))
            epoch = int(_metadata(manager, step)["epoch"])
    return {name: jax.tree.map(np.asarray, found[name]) for name in names}, epoch


def restore_averaged(workdir: Path) -> tuple[Params, int]:
    """The parameters that a run is evaluated with (averaged where trained), of its latest checkpoint, and its epochs.

    Raises:
      UserError: as `restore_items`.
    """
    items, epoch = restore_items(workdir, "params", "ema")
    leaves = flax.traverse_util.flatten_dict(items["params"], sep="/")
    return flax.traverse_util.unflatten_dict({**leaves, **items["ema"]}, sep="/"), epoch
