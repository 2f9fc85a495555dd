"""Folders and files that a run writes: checked before anything is computed, locked, written whole or not at all."""

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from adatad_jax.errors import UserError

PATTERN_CHARACTERS = "[]*?"
# What a file system without locks answers to one.
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
_logger = logging.getLogger(__name__)


def check_output_folder(folder: Path, checkpoints: bool = False) -> None:
    """Checks that a folder can be created and written into, without creating it.

    Args:
      folder: the folder.
      checkpoints: whether it will hold checkpoints. Their library takes certain characters of a path for a pattern:
        it would write there and then find nothing.

    Raises:
      UserError: the folder or one of its parents is a file or may not be written; the path is an address, or holds
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
    """Returns where a file is written until it is whole; a killed process leaves it behind."""
    return path.with_name(f".{path.name}.partial")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a path beside `path` to write to, which takes the name of `path` at the end; on failure nothing is left.

    Raises:
      UserError: an OSError was raised inside: the file cannot be written.
    """
    partial = partial_path(path)
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path}: cannot be written ({reason}); make room, or choose another folder") from error
    finally:
        with suppress(OSError):  # it has its name by now, or one that is too long
            partial.unlink()


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all; raises `UserError` if it cannot be written."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def lock_held(path: Path) -> Iterator[bool]:
    """Holds a lock file until the block or the process ends, however it ends; the file stays.

    On a file system without locks a warning says so, once per folder, and the lock counts as held.

    Yields:
      Whether this process holds the lock; False if another one does.

    Raises:
      OSError: the lock file cannot be made.
    """
    lock = FileLock(path, blocking=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        _logger.warning(
            "%s: this file system has no locks (%s), so nothing keeps a second process out of this folder",
            path.parent,
            error.strerror,
        )
    try:
        yield True
    finally:
        lock.release()
