"""The work that is measured: sizes, lengths and batches; the same weights and windows for both sides."""

from typing import Any, NamedTuple

import numpy as np

from adatad_jax.config.fields import Config
from adatad_jax.data.batch import Batch

SIDE, CLASSES, SEGMENTS = 160, 20, 8  # pixels; classes of THUMOS-14; annotated segments per window
SHORT, LONG = 64, 768  # frames of a window: four chunks, and the published one
STEPS_PER_EPOCH = 100  # THUMOS-14's, for the table of learning rates


class Case(NamedTuple):
    """One piece of work: VideoMAE with adapters in all blocks, under THUMOS-14's detector and recipe.

    Attributes:
      size: of the backbone.
      frames: of a window.
      batch: windows.
      dtype: of matrix products.
      side: of the frames, pixels.
    """

    size: str
    frames: int
    batch: int
    dtype: str
    side: int = SIDE

    def config(self, **model: Any) -> Config:
        """Returns the recipe of a training, with fields of the model that differ from its defaults."""
        return Config().with_fields(
            {
                "data.window": self.frames,
                "data.crop": self.side,
                "train.batch_size": self.batch,
                "model.size": self.size,
                "model.dtype": self.dtype,
                "model.frozen_dtype": self.dtype,
                **{f"model.{name}": value for name, value in model.items()},
            }
        )

    def windows(self) -> Batch:
        """Returns the batch: noise, without padding, with segments of many lengths; nothing is augmented."""
        rng = np.random.default_rng(0)
        frames = rng.integers(0, 256, (self.batch, self.frames, self.side, self.side, 3), np.uint8)
        starts = rng.uniform(0, 0.8 * self.frames, (self.batch, SEGMENTS))
        lengths = rng.uniform(0.02, 0.2, (self.batch, SEGMENTS)) * self.frames
        return Batch(
            frames,
            np.ones((self.batch, self.frames), bool),
            np.stack([starts, starts + lengths], -1).astype(np.float32),
            rng.integers(0, CLASSES, (self.batch, SEGMENTS)).astype(np.int32),
            np.arange(self.batch, dtype=np.int32),
            np.ones(self.batch, np.float32),
        )


def random_parameters(shapes: Any) -> Any:
    """Returns parameters of given shapes and dtypes, on the host: small random numbers, and factors near 1.

    No tensor is zero, as those of fresh adapters are, so that nothing is computed on zeros.

    Args:
      shapes: nested dictionaries of shapes and dtypes.
    """
    rng = np.random.default_rng(0)

    def fill(name: str, node: Any) -> Any:
        if isinstance(node, dict):
            return {key: fill(key, value) for key, value in node.items()}
        values = rng.standard_normal(node.shape, np.float32) * np.float32(0.02)
        return (values + 1 if name in ("scale", "gamma") else values).astype(node.dtype)

    return fill("", shapes)
