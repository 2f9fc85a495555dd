"""Folders of parameters: written whole or not at all, and read back; needs no torch."""

import contextlib
import json
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

SETTLING = 1.0  # seconds, after which no thread of a write that failed is at work any more


def refuse_existing(folder: Path) -> None:
    """Raises `UserError` if the folder exists, so that nothing is overwritten, or cannot be made."""
    check_output_folder(folder, checkpoints=True)
    if folder.exists():
        raise UserError(f"{folder}: exists already; remove it or name another output")


def partial_folder(folder: Path) -> Path:
    """Returns where a folder is written until it is whole; a killed process leaves it behind."""
    return folder.with_name(f".{folder.name}.partial")


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
        raise UserError(f"{folder}: needs {size / 1e6:,.0f} MB, but {free / 1e6:,.0f} MB are free; name another")
    partial = partial_folder(folder)
    try:
        partial.mkdir(parents=True)
    except FileExistsError as error:
        raise UserError(
            f"{folder}: another conversion is writing it, or one was killed there; if none is running, remove {partial}"
        ) from error
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({one_line(error)}); name another") from error
    try:
        yield partial
        partial.rename(folder)
    except UserError:
        raise
    # Whatever the checkpoint library raises.
    except Exception as error:
        raise UserError(f"{folder}: cannot be written ({one_line(error)}); make room, or name another") from error
    finally:
        if partial.exists():
            time.sleep(SETTLING)
            shutil.rmtree(partial, ignore_errors=True)


def size_of(*trees: Any) -> int:
    """Bytes in the arrays of trees."""
    return sum(int(leaf.nbytes) for leaf in jax.tree.leaves(trees))


def on_host(array: np.ndarray) -> jax.Array:
    """The same as an array of jax in main memory, which Orbax writes as it is; of numpy's own it makes two copies.

    Without a copy where jax made the memory: `np.asarray` of what this gives has it.
    """
    try:
        device = jax.devices("cpu")[0]
    except RuntimeError:  # a user may have shut it off
        device = jax.devices()[0]
    return jax.device_put(array, device)


def write_tree(path: Path, tree: Any) -> None:
    """Writes a tree of arrays as an Orbax checkpoint; raises what the library does."""
    with _quiet(), ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path.absolute(), jax.tree.map(on_host, tree))


def read_tree(path: Path) -> Any:
    """The tree as numpy arrays; raises what the library does over damaged files."""
    with _quiet(), ocp.StandardCheckpointer() as checkpointer:
        saved = checkpointer.metadata(path.absolute()).item_metadata
        if saved is None:
            raise ValueError(f"{path.name}/ has no list of its arrays")
        shapes = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), saved.tree)
        return checkpointer.restore(path.absolute(), shapes)


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
