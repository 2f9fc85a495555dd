"""Folders and files that a run writes: checked before anything is computed, written whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path

from adatad_jax.errors import UserError

PATTERN_CHARACTERS = "[]*?"


def check_output_folder(folder: Path, checkpoints: bool = False) -> None:
    """Checks that a folder can be created and written into, without creating it.

    Args:
      folder: the folder.
      checkpoints: whether it will hold some: their library takes certain characters of a path for a pattern, would
        write there and then find nothing.

    Raises:
      UserError: it or one of its parents is a file or may not be written, it is an address and not a path, or it holds
        such a character.
    """
    path = folder.absolute()
    if folder.parts and folder.parts[0].endswith(":"):
        raise UserError(f"{folder}: an address; only folders of this machine's file system are written (mount it)")
    odd = sorted(set(str(path)) & set(PATTERN_CHARACTERS))
    if checkpoints and odd:
        raise UserError(f"{path}: checkpoints cannot be kept under a path with {' '.join(odd)} in it; choose another")
    try:
        existing = next(parent for parent in (path, *path.parents) if parent.exists())
    except OSError as error:
        raise UserError(f"{folder}: no path ({error.strerror}); choose another") from error
    if not existing.is_dir():
        raise UserError(f"{path}: {existing} is a file, expected a folder; choose another path")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"{path}: {existing} may not be written; choose another path")


def partial_path(path: Path) -> Path:
    """Where a file is written until it is whole; a killed process leaves it behind."""
    return path.with_name(f".{path.name}.partial")


def write_text(path: Path, text: str) -> None:
    """Writes a file so that it is there whole or not at all.

    Raises:
      UserError: it cannot be written.
    """
    partial = partial_path(path)
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):  # its name may be too long
            partial.unlink()
        raise UserError(f"{path}: cannot be written ({error.strerror}); make room, or choose another folder") from error
