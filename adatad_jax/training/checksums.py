"""Checksums of checkpoints: of every array, and of every file of a folder.

The checkpoint library checks neither: a flipped bit would go into a training or a result unnoticed.
"""

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from adatad_jax.errors import UserError, few
from adatad_jax.files import write_text

LIST_FILE = "checksums.txt"
_BLOCK = 1 << 22  # bytes read at once


class Damaged(UserError):
    """A checkpoint does not hold what was written, or not all of it."""


def crc32(array: Any, value: int = 0) -> int:
    """Returns the CRC-32 of an array's bytes.

    Args:
      array: on the host.
      value: CRC-32 of what comes before it.
    """
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, value)


def of_arrays(tree: Any) -> dict[str, str]:
    """Returns `a/b/c` -> CRC-32 as 8 hexadecimal digits, for every array of a tree on the host."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): f"{crc32(leaf):08x}" for path, leaf in leaves}


def check_arrays(tree: Any, written: Mapping[str, str], where: object) -> None:
    """Compares arrays with the checksums that were written with them.

    Args:
      tree: of arrays on the host.
      written: from `of_arrays`.
      where: path of the checkpoint, for the message.

    Raises:
      Damaged: an array differs, is missing, or was not written.
    """
    found = of_arrays(tree)
    wrong = sorted(path for path in found.keys() | written.keys() if found.get(path) != written.get(path))
    if wrong:
        raise Damaged(f"{where}: damaged: the CRC-32 of {len(wrong)} arrays is not as written: {few(wrong)}")


def write_list(folder: Path) -> None:
    """Lists the CRC-32 of every file of a folder in `checksums.txt`, whose last line is that of the lines above.

    Raises:
      UserError: the list cannot be written.
      OSError: a file cannot be read.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    text = "".join(f"{of_file(folder / name):08x}  {name}\n" for name in names if name != LIST_FILE)
    write_text(folder / LIST_FILE, text + _last_line(text.encode()).decode())


def check_list(folder: Path) -> bool:
    """Compares the files of a folder with their list.

    Returns:
      Whether there is a list. Checkpoints of earlier versions have none, nor has one whose process was killed before
      it could write the list.

    Raises:
      Damaged: the list or a file differs, or a file is missing. All are named.
      UserError: a file cannot be read.
    """
    try:
        data = (folder / LIST_FILE).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unreadable(folder / LIST_FILE, error) from error
    cut = data.rfind(b"\n", 0, -1) + 1
    lines, last = data[:cut], data[cut:]
    if last != _last_line(lines):
        raise Damaged(f"{folder}: damaged: {LIST_FILE} is not as written")
    wrong = []
    for line in lines.decode().splitlines():
        written, _, name = line.partition("  ")
        try:
            if f"{of_file(folder / name):08x}" != written:
                wrong.append(name)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            wrong.append(f"{name} (missing)")
        except OSError as error:
            raise _unreadable(folder / name, error) from error
    if wrong:
        raise Damaged(f"{folder}: damaged: {len(wrong)} files are not as written: {few(wrong)}")
    return True


def _last_line(lines: bytes) -> bytes:
    return b"%08x  of the lines above\n" % zlib.crc32(lines)


def of_file(path: Path) -> int:
    """Returns the CRC-32 of a file; raises `OSError` if it cannot be read."""
    value = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            value = zlib.crc32(block, value)
    return value


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"{path}: cannot be read ({error.strerror}); check its permissions and its disk")
