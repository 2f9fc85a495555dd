"""Comparison of two run folders, bit by bit."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from adatad_jax.training import checkpoints
from adatad_jax.training.history import read_history

CLOCKED = ("seconds",)  # entries of the history that may differ


def differences(one: Path, other: Path) -> list[str]:
    """Lists what differs between the last checkpoints and the histories of two runs; empty if nothing does."""
    found = []
    (step, arrays), (other_step, other_arrays) = _state(one), _state(other)
    if step != other_step:
        found.append(f"step {step} and {other_step}")
    for path in sorted(arrays.keys() | other_arrays.keys()):
        first, second = arrays.get(path), other_arrays.get(path)
        if first is None or second is None or first.dtype != second.dtype or first.tobytes() != second.tobytes():
            found.append(f"{path} of the last checkpoint")
    records, other_records = _history(one), _history(other)
    if len(records) != len(other_records):
        found.append(f"{len(records)} and {len(other_records)} epochs in the history")
    pairs = zip(records, other_records, strict=False)
    return [*found, *(f"epoch {own.get('epoch')}: {own} and {others}" for own, others in pairs if own != others)]


def _state(folder: Path) -> tuple[int | None, dict[str, np.ndarray]]:
    """Returns the step of the last checkpoint of a run, and path -> array."""
    with checkpoints.open_manager(folder) as manager:
        step = manager.latest_step()
        if step is None:
            return None, {}
        saved = checkpoints.read(manager, step)
    trees = {"trained": saved.trained, "average": saved.average, "progress": saved.progress}
    leaves = jax.tree_util.tree_leaves_with_path(trees)
    return step, {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves}


def _history(folder: Path) -> list[dict[str, Any]]:
    records = read_history(folder)
    return [{name: value for name, value in record.items() if name not in CLOCKED} for record in records]
