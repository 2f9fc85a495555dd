"""The choice between PyAV and decord for a video file (`data.reader`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from adatad_jax.errors import UserError
from adatad_jax.video import decord_reader
from adatad_jax.video.decode import Filling, VideoReader, open_video

PYAV, DECORD = "pyav", "decord"  # the values of `data.reader`


def open_with(reader: str, path: Path, filling: Filling | None = None) -> VideoReader:
    """Opens a video file with the wanted reader if that reads it rightly, else with PyAV.

    Args:
      reader: `PYAV` or `DECORD`.
      path: the file.
      filling: as for `open_video`; only PyAV can fill.

    Raises:
      UserError: as `open_video`; or decord is wanted and not installed.
    """
    if reader == DECORD and filling is None and not reason_for_pyav(reader, path):
        return decord_reader.DecordReader(path, decord_reader.judge(path).size)
    return open_video(path, filling)


def reason_for_pyav(reader: str, path: Path) -> str:
    """Returns why PyAV reads a file although decord is wanted, in words; empty if decord reads it, or is not wanted.

    Raises:
      UserError: the file cannot be read; or decord is wanted and not installed.
    """
    check_reader(reader)
    return decord_reader.judge(path).against if reader == DECORD else ""


def check_reader(reader: str) -> None:
    """Raises `UserError` if a reader is not installed."""
    if reader == DECORD and not decord_reader.is_installed():
        raise UserError(
            "config.data.reader=decord: the package decord is not installed; install it (pip install decord; there are "
            "packages for Linux on x86-64 only), or leave that field at pyav"
        )


def tally(reasons: Iterable[str]) -> str:
    """Describes how many videos each reader reads, and why PyAV reads what it reads.

    Args:
      reasons: one per video, as `reason_for_pyav` gives them where decord is wanted.
    """
    counts = Counter(reasons)
    with_decord = counts.pop("", 0)
    text = f"decord reads {with_decord} of {with_decord + counts.total()} videos, PyAV {counts.total()}"
    why = "; ".join(f"{count} with {reason}" for reason, count in counts.most_common())
    return f"{text}: {why}" if why else text
