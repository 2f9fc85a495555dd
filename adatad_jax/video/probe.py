"""What a video file holds, found by opening the file and decoding a few of its frames."""

from pathlib import Path
from typing import NamedTuple

from adatad_jax.video.steady import open_steady


class Probe(NamedTuple):
    """A video file that opens.

    Attributes:
      frames: number of frames at the video's constant rate.
      fps: frames per second of that rate.
      size: height and width of an upright frame, pixels; None where it is not known.
      notes: what was repaired, assumed or chosen in reading the file, in words.
    """

    frames: int
    fps: float
    size: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()


def probe(path: Path) -> Probe:
    """Opens a video and decodes its first frame.

    Raises:
      UserError: it cannot be read; the message names the file.
    """
    reader = open_steady(path)
    reader.read([0])
    return Probe(reader.frame_count, reader.fps, reader.size, reader.notes)


def probe_throughout(path: Path) -> Probe:
    """Opens a video and decodes its first frame, one in the middle, and the last; raises as `probe`."""
    reader = open_steady(path)
    reader.read([0, reader.frame_count // 2, reader.frame_count - 1])
    return Probe(reader.frame_count, reader.fps, reader.size, reader.notes)
