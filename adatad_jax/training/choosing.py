"""Which checkpoint of a run is read: the latest, the best, or that of a step; and what is done about damaged ones."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from adatad_jax.errors import UserError
from adatad_jax.training.checkpoints import CHECKPOINTS_FOLDER, Saved, open_manager, read, seal
from adatad_jax.training.checksums import LIST_FILE, Damaged
from adatad_jax.training.history import read_history
from adatad_jax.training.retention import BEST, LATEST, Choice, best_step
from adatad_jax.training.scores import in_words, rank_of

_logger = logging.getLogger(__name__)


def has_checkpoint(workdir: Path) -> bool:
    """Tells whether a run folder holds a finished checkpoint."""
    if not (workdir / CHECKPOINTS_FOLDER).is_dir():
        return False
    with open_manager(workdir) as manager:
        return manager.latest_step() is not None


def read_chosen(workdir: Path, choice: Choice = LATEST) -> Saved:
    """Reads a checkpoint of a run folder.

    Args:
      workdir: the run folder.
      choice: a step; `latest`, where a damaged one gives way to the one before, with a warning; or `best`, the highest
        mAP in the run's history.

    Raises:
      UserError: there is no such checkpoint (the message names those that exist), the choice is another text, or it is
        damaged.
    """
    if not (workdir / CHECKPOINTS_FOLDER).is_dir():
        raise UserError(f"{workdir}: no checkpoint here yet ({CHECKPOINTS_FOLDER}/ is missing): train first")
    with open_manager(workdir) as manager:
        steps = sorted(manager.all_steps())
        if not steps:
            raise UserError(f"{workdir / CHECKPOINTS_FOLDER}: holds no finished checkpoint: train first")
        if choice == LATEST:
            return _newest_whole(manager)[0]
        return read(manager, _step(workdir, steps, choice))


def read_to_continue(manager: ocp.CheckpointManager) -> Saved | None:
    """Reads the newest whole checkpoint, to train on from there; None if there is no checkpoint.

    Damaged ones that are newer move aside, to `damaged-STEP`, so that their steps can be saved again.

    Raises:
      UserError: all checkpoints are damaged, or one cannot be read or moved.
    """
    if manager.latest_step() is None:
        return None
    saved, damaged = _newest_whole(manager)
    if jax.process_index() != 0:
        return saved
    folder = Path(manager.directory)
    try:
        for step in damaged:
            (folder / str(step)).rename(_free_name(folder, step))
    except OSError as error:
        raise UserError(f"{folder / str(step)}: damaged, and cannot be moved aside ({error.strerror})") from error
    manager.reload()
    if not (folder / str(saved.step) / LIST_FILE).exists():  # of an earlier version, or its process was killed
        seal(manager, saved.step)
    return saved


def origin(workdir: Path, saved: Saved) -> str:
    """Says which checkpoint of a run it is: step, epoch, and its score where it was evaluated."""
    return described(saved.step, {saved.step: {**saved.metadata, **_epochs(workdir).get(saved.step, {})}})


def described(step: int, epochs: Mapping[int, Mapping[str, Any]]) -> str:
    """Describes a checkpoint.

    Args:
      step: of the checkpoint.
      epochs: step -> record of the epoch that ends there, or metadata of the checkpoint.
    """
    record = epochs.get(step)
    if record is None:
        return f"step {step}"
    inside = "inside " if record.get("tally") else ""
    epoch = record["epoch"] + (1 if inside else 0)
    return ", ".join(filter(None, (f"step {step}", f"{inside}epoch {epoch}", in_words(record))))


def _step(workdir: Path, steps: Sequence[int], choice: Choice) -> int:
    """Returns the step that is meant; raises `UserError` if there is none among the given ones."""
    epochs = _epochs(workdir)
    there = f"the checkpoints here: {'; '.join(described(step, epochs) for step in steps)}"
    if choice != BEST:
        if isinstance(choice, str):
            raise UserError(f"{workdir}: step={choice!r}: expected a number of steps, {LATEST!r} or {BEST!r}; {there}")
        if choice not in steps:
            raise UserError(f"{workdir}: no checkpoint of step {choice}; {there}")
        return int(choice)
    best, ever = best_step(steps, epochs), best_step(epochs, epochs)
    if best is None:
        gone = f"; the best, {described(ever, epochs)}, is gone" if ever is not None else ""
        raise UserError(f"{workdir}: no checkpoint here was evaluated by the run (train.eval_from){gone}; {there}")
    if ever is not None and best != ever and (rank_of(epochs[ever]) or 0) > (rank_of(epochs[best]) or 0):
        _logger.warning(
            "%s: the best checkpoint, %s, is gone; the best that is here is used: %s",
            workdir,
            described(ever, epochs),
            described(best, epochs),
        )
    return best


def _epochs(workdir: Path) -> dict[int, dict[str, Any]]:
    """Returns step -> record of the epoch that ends there."""
    return {record["step"]: record for record in read_history(workdir)}


def _newest_whole(manager: ocp.CheckpointManager) -> tuple[Saved, list[int]]:
    """Reads the newest checkpoint that is not damaged; each that is gets a warning.

    Returns:
      The checkpoint, and the steps of newer, damaged ones.

    Raises:
      UserError: all are damaged.
    """
    damaged: list[tuple[int, Damaged]] = []
    for step in sorted(manager.all_steps(), reverse=True):
        try:
            saved = read(manager, step)
        except Damaged as error:
            damaged.append((step, error))
            continue
        for _, problem in damaged:
            _logger.warning("%s; the one before, of step %d, is used", problem, step)
        return saved, [step for step, _ in damaged]
    raise UserError(
        "no checkpoint of this run is whole; to start anew, give another --workdir:\n  "
        + "\n  ".join(str(problem) for _, problem in damaged)
    )


def _free_name(folder: Path, step: int) -> Path:
    """Returns a path for a damaged checkpoint that the library does not take for one."""
    names = [f"damaged-{step}", *(f"damaged-{step}-{number}" for number in range(2, 1000))]
    return next(path for name in names if not (path := folder / name).exists())
