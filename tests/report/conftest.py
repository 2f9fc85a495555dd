"""A small video that turns from black to white."""

from pathlib import Path

import av
import numpy as np
import pytest


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes a video of 50 frames of 400 x 96 pixels."""
    path = tmp_path_factory.mktemp("video") / "video.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 400, 96, "yuv420p"
        for level in np.linspace(0, 255, 50):
            frame = av.VideoFrame.from_ndarray(np.full((96, 400, 3), level, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
