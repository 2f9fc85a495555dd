"""Writing of generated frames as H.264 videos."""

from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np

# One encoder thread: the callers' processes already fill the cores, and so the bytes depend on no number of threads.
OPTIONS = {"crf": "20", "preset": "veryfast", "bf": "3", "g": "60", "threads": "1", "x264-params": "mbtree=0"}


def write_video(path: Path, frames: Iterable[np.ndarray], *, width: int, height: int, fps: int) -> None:
    """Writes an H.264 file with B-frames.

    Args:
      path: the file; its ending chooses the container.
      frames: `[H, W, 3]` uint8 RGB each, in order.
      width, height: of the frames, pixels, even.
      fps: frames per second.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options=OPTIONS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
