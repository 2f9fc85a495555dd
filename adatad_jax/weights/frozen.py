"""The frozen parameters of a run, which are written once, before the first step."""

import shutil
from pathlib import Path

import jax

from adatad_jax.conversion import folders
from adatad_jax.errors import UserError, one_line
from adatad_jax.models.layers import Params
from adatad_jax.training import checksums
from adatad_jax.training.checkpoints import Saved

FROZEN_FOLDER = "frozen"
CHECKSUM_FILE = "crc32"
_AGAIN = (
    "copy it again, or make it anew: a run that starts from the same weights (config.json) in another folder writes "
    f"the same, if its {FROZEN_FOLDER}/{CHECKSUM_FILE} is the same"
)


def write_frozen(workdir: Path, frozen: Params) -> None:
    """Writes the frozen parameters of a run, whole or not at all.

    Replaces those of a run that was killed before its first checkpoint. Writes nothing if all parameters are trained.

    Args:
      workdir: the run's folder.
      frozen: tree of the frozen parameters, as `parameters.split` gives it.

    Raises:
      UserError: the parameters cannot be written.
    """
    folder = workdir / FROZEN_FOLDER
    for left in (folder, folders.partial_folder(folder)):
        shutil.rmtree(left, ignore_errors=True)
    if jax.tree.leaves(frozen):
        with folders.whole(folder, folders.size_of(frozen)) as partial:
            folders.write_tree(partial / folders.PARAMS_FOLDER, frozen)
            (partial / CHECKSUM_FILE).write_text(f"{params_checksum(frozen):08x}\n")
            checksums.write_list(partial)


def read_frozen(workdir: Path, saved: Saved) -> Params:
    """Reads the frozen parameters that belong to a checkpoint of a run, on the host.

    Args:
      workdir: the run's folder.
      saved: the checkpoint. One of version 0.1 holds the frozen parameters itself.

    Raises:
      UserError: the parameters are missing or damaged.
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
            "copy the run with this folder"
        )
    try:
        checksums.check_list(folder)  # folders of earlier versions have no list
        frozen: Params = folders.read_tree(folder / folders.PARAMS_FOLDER)
        if len(jax.tree.leaves(frozen)) != wanted:
            raise ValueError(f"{len(jax.tree.leaves(frozen))} arrays, expected {wanted}")
        written = int((folder / CHECKSUM_FILE).read_text(), 16)
        if written != (found := params_checksum(frozen)):
            raise ValueError(f"the arrays' CRC-32 is {found:08x}, expected {written:08x}")
    except checksums.Damaged as error:
        raise UserError(f"{error}; {_AGAIN}") from error
    except UserError:
        raise
    # The library raises many types for damaged files.
    except Exception as error:
        raise UserError(f"{folder}: damaged ({type(error).__name__}: {one_line(error)}); {_AGAIN}") from error
    return frozen


def params_checksum(tree: Params) -> int:
    """Returns the CRC-32 of all arrays."""
    value = 0
    for leaf in jax.tree.leaves(tree):
        value = checksums.crc32(leaf, value)
    return value
