"""What a video file holds, found by opening the file and decoding a few of its frames."""

from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import av

from adatad_jax.errors import UserError
from adatad_jax.video.packets import open_container
from adatad_jax.video.readers import PYAV, reason_for_pyav
from adatad_jax.video.steady import open_steady

# FFmpeg takes files for these by their extension alone, and draws any bytes as text or as an icon.
_DRAWN = frozenset({"tty", "bin", "xbin", "adf", "idf", "cdg", "ico"})
_PACKETS_TRIED = 300


class Probe(NamedTuple):
    """A video file that opens.

    Attributes:
      frames: number of frames at the video's constant rate.
      fps: frames per second of that rate.
      size: height and width of an upright frame, pixels; None where it is not known.
      notes: what was repaired, assumed or chosen in reading the file, in words.
      pyav_because: why PyAV reads the file although decord is wanted, in words; empty otherwise.
    """

    frames: int
    fps: float
    size: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()
    pyav_because: str = ""


def probe(path: Path, reader: str = PYAV) -> Probe:
    """Opens a video and decodes its first frame.

    Args:
      path: the file.
      reader: as for `open_with`.

    Raises:
      UserError: it cannot be read; the message names the file.
    """
    return _probe(path, reader, throughout=False)


def probe_throughout(path: Path, reader: str = PYAV) -> Probe:
    """Opens a video and decodes its first frame, one in the middle, and the last; as `probe` otherwise."""
    return _probe(path, reader, throughout=True)


def _probe(path: Path, reader: str, throughout: bool) -> Probe:
    video = open_steady(path, reader=reader)
    video.read([0, video.frame_count // 2, video.frame_count - 1] if throughout else [0])
    return Probe(video.frame_count, video.fps, video.size, video.notes, reason_for_pyav(reader, path))


def is_video(path: Path) -> bool:
    """Tells whether FFmpeg finds a video in a file, whatever its extension: two pictures or more, of which one decodes.

    Subtitles, pictures, sound with a cover, text and tables are no videos.
    """
    try:
        container, stream = open_container(path)
    except (UserError, av.error.FFmpegError):
        return False
    with container:
        return container.format.name not in _DRAWN and _shows_pictures(container, stream)


def _shows_pictures(container: Any, stream: Any) -> bool:
    packets, decoded = 0, False
    try:
        for packet in islice(container.demux(stream), _PACKETS_TRIED):
            packets += bool(packet.size)
            with suppress(av.error.InvalidDataError):  # the start may be missing or damaged
                decoded = decoded or bool(packet.decode())
            if decoded and packets > 1:
                return True
    except av.error.FFmpegError:
        pass
    return False
