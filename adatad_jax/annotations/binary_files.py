"""Files that hold no text where annotations or results are expected, named by their content and never unpickled."""

import io
import pickletools
import zipfile
from pathlib import Path
from typing import NamedTuple

_SIGNATURES = (
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"BZh", "compressed by bzip2"),
    (b"\xfd7zXZ\x00", "compressed by xz"),
    (b"\x28\xb5\x2f\xfd", "compressed by Zstandard"),
    (b"PAR1", "a Parquet table"),
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file"),
    (b"ARROW1", "an Arrow table"),
    (b"%PDF", "a PDF"),
)
# Part of a member's name in a ZIP archive -> what the archive is.
_MEMBERS = (
    ("data.pkl", "a PyTorch file (torch.save)"),
    (".npy", "NumPy arrays (.npz)"),
    ("xl/workbook", "an Excel workbook"),
    ("content.xml", "an OpenDocument table"),
)
_OLD_TORCH = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # a pickled number with which older files of torch.save begin
_TEXT_PICKLE = b"(}]c)"  # first bytes of pickles of protocols 0 and 1


class BinaryKind(NamedTuple):
    """What a file without text is.

    Attributes:
      words: with an article, or "compressed by ...".
      writes: a Python expression that reads the file at `{path}` as an object; empty if none is known.
      modules: names of the modules that the expression needs, besides pathlib.
      trusted: whether to run the expression is to run whatever code the file holds.
    """

    words: str
    writes: str = ""
    modules: tuple[str, ...] = ()
    trusted: bool = False


def binary_kind(path: Path) -> BinaryKind | None:
    """Recognises a file that is no text by its content, whatever its name; None for any other file.

    A pickle's opcodes are listed, which runs nothing (`pickletools`).

    Raises:
      OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"PK\x03\x04"):
        return _archive(path)
    if start[2:].startswith(_OLD_TORCH) and start[:1] == b"\x80":
        return _torch()
    for signature, words in _SIGNATURES:
        if start.startswith(signature):
            return _signed(words)
    is_pickle = start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    if is_pickle or (start[:1] and start[:1] in _TEXT_PICKLE and _lists_as_pickle(path.read_bytes())):
        return BinaryKind(
            "a Python pickle", "pickle.loads(pathlib.Path({path}).read_bytes())", ("pickle",), trusted=True
        )
    return None


def _archive(path: Path) -> BinaryKind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return BinaryKind("a damaged ZIP archive")
    for part, words in _MEMBERS:
        if any(name.endswith(part) or name.startswith(part) for name in names):
            if part == "data.pkl":
                return _torch()
            return _signed(words)
    return BinaryKind("a ZIP archive")


def _torch() -> BinaryKind:
    return BinaryKind(
        "a PyTorch file (torch.save)", "torch.load({path}, map_location='cpu', weights_only=True)", ("torch",)
    )


def _signed(words: str) -> BinaryKind:
    match words:
        case "NumPy arrays (.npz)":
            return BinaryKind(words, "dict(numpy.load({path}))", ("numpy",))
        case "a NumPy array (.npy)":
            return BinaryKind(words, "numpy.load({path}, allow_pickle=True).item()", ("numpy",), trusted=True)
        case "a Parquet table":
            return BinaryKind(words, "pandas.read_parquet({path})", ("pandas",))
    return BinaryKind(words)


def _lists_as_pickle(content: bytes) -> bool:
    """Checks whether all bytes are the opcodes of one pickle."""
    stream = io.BytesIO(content)
    try:
        last = [opcode.name for opcode, _, _ in pickletools.genops(stream)][-1:]
    except (ValueError, IndexError):  # UnicodeDecodeError is a ValueError
        return False
    return last == ["STOP"] and not content[stream.tell() :].strip()
