"""Folders of converted parameters, written completely or not at all, and read back; needs no torch."""

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

from adatad_jax.console import libraries_silenced
from adatad_jax.errors import UserError, one_line
from adatad_jax.files import check_output_folder

SUMMARY_FILE = "conversion.json"
PARAMS_FOLDER = "params"
UNUSED_FILE = "passengers.safetensors"

SETTLING = 1.0  # seconds after which no thread of a failed write is still working


def refuse_existing(folder: Path) -> None:
    """Refuses a folder that exists, so that nothing is overwritten.

    Raises:
      UserError: the folder exists, or cannot be made.
    """
    check_output_folder(folder, checkpoints=True)
    if folder.exists():
        raise UserError(f"{folder}: exists already; remove it or name another output")


def partial_folder(folder: Path) -> Path:
    """Returns where a folder is written until it is whole; a killed process leaves it behind."""
    return folder.with_name(f".{folder.name}.partial")


@contextlib.contextmanager
def whole(folder: Path, size: int) -> Iterator[Path]:
    """Makes a temporary folder to write into, renames it to `folder` on success, and removes it on failure.

    Args:
      folder: the final folder; its parents are made.
      size: bytes that will be written.

    Yields:
      The temporary folder.

    Raises:
      UserError: `folder` exists, at the start or at the end, or cannot be written, or the disk has no room for it.
    """
    refuse_existing(folder)
    free = shutil.disk_usage(next(parent for parent in folder.absolute().parents if parent.exists())).free
    if free < size:
        raise UserError(f"{folder}: needs {size / 1e6:,.0f} MB, but {free / 1e6:,.0f} MB are free; name another output")
    partial = partial_folder(folder)
    try:
        partial.mkdir(parents=True)
    except FileExistsError as error:
        raise UserError(
            f"{folder}: another conversion is writing it, or was killed doing so; if none is running, remove {partial}"
        ) from error
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({one_line(error)}); name another output") from error
    try:
        yield partial
        partial.rename(folder)
    except UserError:
        raise
    # The checkpoint library raises errors of many types.
    except Exception as error:
        raise UserError(
            f"{folder}: cannot be written ({one_line(error)}); make room, or name another output"
        ) from error
    finally:
        if partial.exists():
            time.sleep(SETTLING)
            shutil.rmtree(partial, ignore_errors=True)


def size_of(*trees: Any) -> int:
    """Returns the number of bytes in the arrays of trees."""
    return sum(int(leaf.nbytes) for leaf in jax.tree.leaves(trees))


def on_host(array: np.ndarray) -> jax.Array:
    """Returns the array as a JAX array in main memory, which Orbax writes directly; NumPy arrays it copies twice.

    Nothing is copied where JAX allocated the memory, as for `np.asarray` of the array that this function returns.
    """
    try:
        device = jax.devices("cpu")[0]
    except RuntimeError:  # a user may have disabled the CPU backend
        device = jax.devices()[0]
    placed: jax.Array = jax.device_put(array, device)
    return placed


def write_tree(path: Path, tree: Any) -> None:
    """Writes a tree of arrays as an Orbax checkpoint; raises whatever the library raises."""
    placed = on_host if jax.process_count() == 1 else np.asarray  # of several, it writes no JAX array of one alone
    with libraries_silenced(), _checkpointer() as checkpointer:
        checkpointer.save(path.absolute(), jax.tree.map(placed, tree))


def read_tree(path: Path) -> Any:
    """Reads an Orbax checkpoint as a tree of NumPy arrays; raises whatever the library raises for damaged files.

    Raises:
      ValueError: the checkpoint has no list of its arrays.
    """
    with libraries_silenced(), _checkpointer() as checkpointer:
        saved = checkpointer.metadata(path.absolute()).item_metadata
        if saved is None:
            raise ValueError(f"{path.name}/ has no list of its arrays")
        shapes = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), saved.tree)
        return checkpointer.restore(path.absolute(), shapes)


def read_conversion(folder: Path) -> Mapping[str, Any]:
    """Reads the conversion summary in `conversion.json`.

    Raises:
      OSError, ValueError: the file is missing or is not JSON.
    """
    return dict(json.loads((folder / SUMMARY_FILE).read_text()))


def _checkpointer() -> ocp.StandardCheckpointer:
    """Returns a checkpointer by which one of several processes writes or reads alone: the others do not take part."""
    alone = ocp.options.MultiprocessingOptions(primary_host=jax.process_index(), active_processes={jax.process_index()})
    return ocp.StandardCheckpointer(multiprocessing_options=alone)
