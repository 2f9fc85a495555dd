"""A small detector with random parameters, and videos to run it on."""

from fractions import Fraction
from pathlib import Path

import av
import jax
import numpy as np

from adatad_jax.config.build import make_model
from adatad_jax.config.fields import Config
from adatad_jax.weights.load import Trained


def tiny_config() -> Config:
    config = Config().with_fields(
        {"data.stride": 2, "data.window": 32, "data.crop": 32, "data.test_short_side": 32, "data.train_short_side": 36}
    )
    return config.with_fields(
        {
            "data.threads": 2,
            "model.size": "tiny",
            "model.dtype": "float32",
            "model.remat": False,
            "model.width": 16,
            "model.heads": 2,
            "model.stem": 1,
            "model.branch": 2,
            "model.regression_ranges": ((0, 4), (4, 8), (8, 10000)),
            "test.max_seg_num": 500,
            "test.rounded": False,
        }
    )


def tiny_trained(classes: tuple[str, ...] = ("jump", "dance"), config: Config | None = None) -> Trained:
    """With parameters large enough for scores that differ from window to window, and do not saturate."""
    config = config or tiny_config()
    model = make_model(config, len(classes))
    frames, mask = np.zeros((1, 32, 32, 32, 3), np.uint8), np.ones((1, 32), bool)
    shapes = jax.eval_shape(model.init, jax.random.key(0), frames, mask)["params"]
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.normal(0, 0.1, leaf.shape).astype(np.float32), shapes)
    head = params["detector"]["head"]  # its segments have some length
    head["boundary_tower"]["out"]["bias"][:] = 3
    head["scale"][:] = 1
    return Trained(config, classes, params, "tiny", "a tiny detector")


def moving_square(frames: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Frames [N, H, W, 3] uint8 of a square that goes to and fro."""
    video = np.full((frames, height, width, 3), 40, np.uint8)
    for index, frame in enumerate(video):
        left = int((width - 12) * abs(np.sin(index / 9)))
        frame[height // 3 : height // 3 + 12, left : left + 12] = (200, 150, 100)
    return video


def write_video(path: Path, frames: np.ndarray, times: np.ndarray) -> None:
    """Losslessly (FFV1 in Matroska), each frame at its time in seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "bgr0"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for frame, time in zip(frames, times, strict=True):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="bgr0")
            picture.pts, picture.time_base = round(1000 * float(time)), stream.time_base
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
