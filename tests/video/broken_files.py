"""Video files with one fault each, for tests of error messages about bad input."""

import os
from pathlib import Path

import av
import numpy as np

FRAMES, RATE = 100, 25
SIZE = (48, 64)  # height, width


def write_video(path: Path, frames: int = FRAMES) -> Path:
    """Writes a sound H.264 video of random noise with a key frame every 10 frames."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"g": "10", "x264-params": "log-level=none"})
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuv420p"
        for _ in range(frames):
            picture = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def write_audio(path: Path) -> Path:
    """Writes a file with one second of silence and no picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        for _ in range(16):
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            sound.sample_rate = 16000
            container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    return path


def write_broken(folder: Path) -> dict[str, str]:
    """Writes one file per fault; returns name -> text of the message about it. `missing` has no file."""
    whole = write_video(folder / "whole.mp4").read_bytes()
    (folder / "whole.mp4").unlink()
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "text.mp4").write_text("this is not a video\n" * 50)
    write_audio(folder / "audio.mp4")
    middle = len(whole) // 2
    damaged = bytearray(whole)
    damaged[middle - 20000 : middle + 20000] = bytes(40000)
    (folder / "damaged.mp4").write_bytes(bytes(damaged))
    os.mkfifo(folder / "clip.mp4")
    write_video(folder / "short.mp4", frames=40)
    return {
        "missing": "no file with this name",
        "empty": "0 bytes",
        "truncated": "damaged",
        "text": "not a video",
        "audio": "no video stream",
        "damaged": "frame 50 cannot be decoded",
        "clip": "not a file",
        "short": "40 frames in 1.60 seconds, but the annotations say 100 in 4.00",
    }
