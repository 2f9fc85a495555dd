"""What a video file holds, found by opening the file and decoding a few of its frames."""

from pathlib import Path
from typing import NamedTuple

from adatad_jax.video.decode import open_video


class Probe(NamedTuple):
    """A video file that opens.

    Attributes:
      frames: number of frames in the container.
      fps: average frames per second.
      size: height and width of an upright frame, pixels; None where it is not known.
    """

    frames: int
    fps: float
    size: tuple[int, int] | None = None


def probe(path: Path) -> Probe:
    """Opens a video and decodes its first frame.

    Raises:
      UserError: it cannot be read; the message names the file.
    """
    reader = open_video(path)
    reader.read([0])
    return Probe(reader.frame_count, reader.fps, reader.size)


def probe_throughout(path: Path) -> Probe:
    """Opens a video and decodes its first frame, one in the middle, and the last; raises as `probe`."""
    reader = open_video(path)
    reader.read([0, reader.frame_count // 2, reader.frame_count - 1])
    return Probe(reader.frame_count, reader.fps, reader.size)
