"""The frozen parameters of a run: written into its folder once, before the first step."""

import shutil
from pathlib import Path

import jax

from adatad_jax.conversion import folders
from adatad_jax.errors import UserError, one_line
from adatad_jax.models.layers import Params
from adatad_jax.training.checkpoints import Saved

FROZEN_FOLDER = "frozen"


def write_frozen(workdir: Path, frozen: Params) -> None:
    """Writes the frozen parameters of a run, whole or not at all; nothing where all parameters are trained.

    What a run that was killed before its first checkpoint has left is replaced.

    Raises:
      UserError: they cannot be written.
    """
    folder = workdir / FROZEN_FOLDER
    for left in (folder, folders.partial_folder(folder)):
        shutil.rmtree(left, ignore_errors=True)
    if jax.tree.leaves(frozen):
        with folders.whole(folder, folders.size_of(frozen)) as partial:
            folders.write_tree(partial / folders.PARAMS_FOLDER, frozen)


def read_frozen(workdir: Path, saved: Saved) -> Params:
    """Reads the frozen parameters that belong to a checkpoint of a run, on the host.

    Raises:
      UserError: they are missing or damaged.
    """
    if saved.frozen is not None:
        return saved.frozen
    wanted = saved.metadata["frozen"]
    if not wanted:
        return {}
    folder = workdir / FROZEN_FOLDER
    if not folder.is_dir():
        raise UserError(
            f"{folder}: the {wanted} frozen arrays of this run are missing; a checkpoint holds the trained ones alone: "
            f"copy the run with this folder"
        )
    try:
        frozen = folders.read_tree(folder / folders.PARAMS_FOLDER)
        if len(jax.tree.leaves(frozen)) != wanted:
            raise ValueError(f"{len(jax.tree.leaves(frozen))} arrays, expected {wanted}")
    # Whatever the library raises over damaged files.
    except Exception as error:
        raise UserError(
            f"{folder}: damaged ({type(error).__name__}: {one_line(error)}); copy this folder of the run again"
        ) from error
    return frozen
