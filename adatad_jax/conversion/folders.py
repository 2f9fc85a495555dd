"""Folders of parameters: written whole or not at all, and read back; needs no torch."""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from adatad_jax.errors import UserError, one_line
from adatad_jax.files import check_output_folder

ACCOUNT_FILE = "conversion.json"
PARAMS_FOLDER = "params"
PASSENGERS_FILE = "passengers.safetensors"

REMOVALS = 20  # 0.1 s apart


def refuse_existing(folder: Path) -> None:
    """Raises `UserError` if the folder exists, so that nothing is overwritten, or cannot be made."""
    check_output_folder(folder)
    if folder.exists():
        raise UserError(f"{folder}: exists already; remove it or name another output")


@contextlib.contextmanager
def whole(folder: Path, size: int) -> Iterator[Path]:
    """A folder to write into, which takes the name of `folder` once all is there, or vanishes.

    Args:
      folder: its parents are made.
      size: bytes that will be written.

    Raises:
      UserError: `folder` exists, now or at the end, or cannot be written; there is no room for it.
    """
    refuse_existing(folder)
    free = shutil.disk_usage(next(parent for parent in folder.absolute().parents if parent.exists())).free
    if free < size:
        raise UserError(
            f"{folder}: needs {size / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free; make room, or name another"
        )
    # Of this process alone: another may be at the same output.
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        yield partial
        partial.rename(folder)
    except BaseException as error:
        # Threads of a write that failed are at work for a moment still.
        for _ in range(REMOVALS if partial.exists() else 0):
            shutil.rmtree(partial, ignore_errors=True)
            time.sleep(0.1)
        # Else whatever the checkpoint library raises.
        if isinstance(error, UserError) or not isinstance(error, Exception):
            raise
        raise UserError(f"{folder}: cannot be written ({one_line(error)}); make room, or name another") from error


def size_of(*trees: Any) -> int:
    """Bytes in the arrays of trees."""
    return sum(int(leaf.nbytes) for leaf in jax.tree.leaves(trees))


def write_tree(path: Path, tree: Any) -> None:
    """Writes a tree of arrays as an Orbax checkpoint; raises what the library does."""
    # The synchronous one: the other leaves threads with open files behind when it fails.
    with _quiet(), ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
        checkpointer.save(path.absolute(), args=ocp.args.StandardSave(tree))


def read_tree(path: Path) -> Any:
    """The tree as numpy arrays; raises what the library does over damaged files."""
    with _quiet(), ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
        saved = checkpointer.metadata(path.absolute()).item_metadata
        if saved is None:
            raise ValueError(f"{path.name}/ has no list of its arrays")
        shapes = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), saved.tree)
        return checkpointer.restore(path.absolute(), args=ocp.args.StandardRestore(shapes))


def read_record(folder: Path) -> Mapping[str, Any]:
    """The conversion's account, as `conversion.json` has it; raises what reading it does."""
    return dict(json.loads((folder / ACCOUNT_FILE).read_text()))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's own tracebacks: what goes wrong is raised, too, and told in one message."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.FATAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)
