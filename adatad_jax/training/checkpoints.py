"""Orbax checkpoints of a run's training state.

A checkpoint holds four items: `trained` and `average` (trees of the trained parameters alone), `progress` (the rest of
the training state) and `metadata` (JSON). They are separate so that inference need not read the optimiser's state.
A checkpoint does not hold frozen parameters: a run folder holds these once (`weights.frozen`).

The metadata has the checksum of every array; a list beside the items has that of every file (`checksums`). A checkpoint
counts only once it is whole: the library writes it under another name, and renames it.

Checkpoints of version 0.1 can also be read. They hold `params`, the whole tree, and `ema`, path -> average.
"""

import contextlib
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import flax.traverse_util
import jax
import numpy as np
import orbax.checkpoint as ocp

from adatad_jax.console import libraries_silenced
from adatad_jax.errors import UserError, one_line
from adatad_jax.models.layers import Params
from adatad_jax.training import checksums
from adatad_jax.training.checksums import Damaged
from adatad_jax.training.retention import Retention
from adatad_jax.training.state import TrainState

CHECKPOINTS_FOLDER = "checkpoints"
FORMAT = 2  # of a checkpoint; in format 1, it also holds the frozen parameters
DIFFERENCES_SHOWN = 20
TREES = ("trained", "average", "progress")
OLD_TREES = ("params", "ema", "progress")
_REMOVED = "removed"  # folder in which checkpoints are removed: they leave their place at once, whole
_OWN_KEYS = ("format", "checksums")  # of the metadata
_SETTLING = 5  # times a fifth of a second after which no thread of a failed write is still working
_logger = logging.getLogger(__name__)


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

    @property
    def step(self) -> int:
        """Returns the number of steps taken."""
        return int(self.progress["step"])


class Snapshot(NamedTuple):
    """A training state on the host, to be written as a checkpoint.

    Attributes:
      step: number of steps taken.
      trees: item of the checkpoint -> tree of arrays.
      metadata: JSON values.
    """

    step: int
    trees: dict[str, Any]
    metadata: dict[str, Any]

    @property
    def size(self) -> int:
        """Returns the number of bytes in the arrays."""
        return sum(int(leaf.nbytes) for leaf in jax.tree.leaves(self.trees))


def open_manager(workdir: Path, keep: int | Retention | None = None) -> ocp.CheckpointManager:
    """Opens the checkpoints of a run folder, which are named by step.

    Each process opens them by itself and waits for no other; the first alone writes.

    Args:
      workdir: the run folder.
      keep: which checkpoints are kept, or how many of the latest; the folder is made then, and what a killed process
        left there is removed. None opens existing checkpoints to read them.
    """
    folder = (workdir / CHECKPOINTS_FOLDER).absolute()
    ours = ocp.options.MultiprocessingOptions(primary_host=jax.process_index(), active_processes={jax.process_index()})
    writes = keep is not None and jax.process_index() == 0
    if writes:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder / _REMOVED, ignore_errors=True)
        _remove_partial(folder)
    trees = {name: ocp.StandardCheckpointHandler(multiprocessing_options=ours) for name in sorted({*TREES, *OLD_TREES})}
    policy = ocp.checkpoint_managers.LatestN(keep) if isinstance(keep, int) else keep
    return ocp.CheckpointManager(
        folder,
        item_handlers={**trees, "metadata": ocp.JsonCheckpointHandler(multiprocessing_options=ours)},
        options=ocp.CheckpointManagerOptions(
            preservation_policy=policy,
            create=False,
            todelete_subdir=_REMOVED,
            lightweight_initialize=True,  # opens where the library's own notes are damaged, too
            enable_async_checkpointing=False,  # `writing` writes in the background, and can try again
            multiprocessing_options=ours,
        ),
    )


def snapshot(step: int, state: TrainState, metadata: dict[str, Any]) -> Snapshot:
    """Copies a training state to the host, so that the next step may use its buffers.

    Args:
      step: number of steps taken.
      state: after these steps, on the devices.
      metadata: JSON values; `epoch`, the number of whole epochs, is among them.
    """
    trained, average, progress = jax.tree.map(np.array, (state.trained, state.average, _progress(state)))
    trees = {"trained": trained, "average": average, "progress": progress}
    return Snapshot(step, trees, {**metadata, "frozen": len(jax.tree.leaves(state.frozen))})


def save(manager: ocp.CheckpointManager, step: int, state: TrainState, metadata: dict[str, Any]) -> None:
    """Writes a checkpoint, and waits until it is written; `writing` does so in the background.

    Args:
      manager: from `open_manager`.
      step, state, metadata: as for `snapshot`.

    Raises:
      UserError: the checkpoint cannot be written.
    """
    with libraries_silenced():
        write(manager, snapshot(step, state, metadata))
    seal(manager, step)


def write(manager: ocp.CheckpointManager, taken: Snapshot) -> None:
    """Writes a checkpoint without the list of its files, then removes those that are no longer kept.

    Those that cannot be removed are a warning: the next write tries again.

    Raises:
      UserError: the checkpoint cannot be written. Nothing of it is left.
    """
    folder = Path(manager.directory)
    is_new = taken.step not in manager.all_steps()
    try:
        own = {"format": FORMAT, "checksums": checksums.of_arrays(taken.trees)}
        trees = {name: ocp.args.StandardSave(tree) for name, tree in taken.trees.items()}
        items = ocp.args.Composite(**trees, metadata=ocp.args.JsonSave({**taken.metadata, **own}))
        manager.save(taken.step, args=items, force=True)
        shutil.rmtree(folder / _REMOVED, ignore_errors=True)
    except Exception as error:  # the library raises many types
        with contextlib.suppress(OSError):
            _remove_partial(folder)
            manager.reload()
        if is_new and taken.step in manager.all_steps():  # it has its name, so it is whole
            _logger.warning("%s: checkpoints that are no longer kept cannot be removed (%s)", folder, _reason(error))
            return
        raise UserError(f"{folder / str(taken.step)}: this checkpoint cannot be written ({_reason(error)})") from error


def seal(manager: ocp.CheckpointManager, step: int) -> None:
    """Lists the checksums of a checkpoint's files beside them.

    Raises:
      UserError: the list cannot be written.
    """
    folder = Path(manager.directory) / str(step)
    try:
        checksums.write_list(folder)
    except OSError as error:
        raise UserError(f"{folder}: this checkpoint cannot be read back ({error.strerror})") from error


def _remove_partial(folder: Path) -> None:
    """Removes what a failed write left, so that the disk has its room again; threads of it may still be writing."""
    for _ in range(_SETTLING):
        left = list(folder.glob("[0-9]*.*"))  # STEP.SUFFIX
        for path in left:
            shutil.rmtree(path, ignore_errors=True)
        if not left:
            return
        time.sleep(0.2)


def read(manager: ocp.CheckpointManager, step: int) -> Saved:
    """Reads the checkpoint after `step` steps, and compares it with its checksums. Earlier versions wrote none.

    Raises:
      Damaged: it does not hold what was written.
      UserError: it was written by a newer version, or cannot be read.
    """
    folder = Path(manager.directory) / str(step)
    is_whole = checksums.check_list(folder)
    with _readable(folder, is_whole), libraries_silenced():
        found = manager.restore(step, args=ocp.args.Composite(metadata=ocp.args.JsonRestore()))
        metadata = dict(found["metadata"])
        own = {key: metadata.pop(key, None) for key in _OWN_KEYS}
        if (own["format"] or FORMAT) > FORMAT:
            raise UserError(
                f"{folder}: format {own['format']}, written by a newer version of adatad_jax; this version reads "
                f"formats 1 to {FORMAT}: update adatad_jax"
            )
        shapes = manager.item_metadata(step)
        is_old = shapes.get("params") is not None
        names = OLD_TREES if is_old else TREES
        args = {name: ocp.args.StandardRestore(_abstract(shapes[name].tree)) for name in names}
        restored = manager.restore(step, args=ocp.args.Composite(**args))
        trees = {name: jax.tree.map(np.asarray, restored[name]) for name in names}
    if own["checksums"] is not None:
        checksums.check_arrays(trees, own["checksums"], folder)
    return _from_old(trees, metadata) if is_old else Saved(frozen=None, metadata=metadata, **trees)


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
def _readable(folder: Path, is_whole: bool) -> Iterator[None]:
    """Turns any exception of the library while a checkpoint is read into a `UserError`.

    Args:
      folder: of the checkpoint.
      is_whole: whether its files are as they were written.

    Raises:
      Damaged: they may not be.
      UserError: they are.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if is_whole:
            raise UserError(f"{folder}: cannot be read, though its files are as written: {_reason(error)}") from error
        raise Damaged(f"{folder}: damaged ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    """Returns what the operating system says, where the library's exception tells, else its message."""
    if code := re.search(r"os_error_code='(\d+)'", str(error)):
        return os.strerror(int(code[1]))
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {one_line(error)}"
