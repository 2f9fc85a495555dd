"""A batch of training samples as arrays: what every one has, and that of training windows."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, Self

import jax
import numpy as np

from adatad_jax.augmentation.draws import NO_AUGMENTATION, Augmentation


def stacked(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Stacks arrays on a new first axis. A single one is not copied: a window has a hundred megabytes."""
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)


class AnyBatch(Protocol):
    """B samples, as arrays with a leading axis B."""

    @property
    def frames(self) -> Any:
        """Returns what the model gets, `[B, T, ...]`."""
        ...

    @property
    def weight(self) -> Any:
        """Returns `[B]` float32: 1 for a sample, 0 for one that only fills up a batch."""
        ...

    def part(self, rows: slice, frames: slice) -> Self:
        """Returns some rows, and of their samples some frames; the rest of a sample stays whole."""
        ...


class Batch(NamedTuple):
    """B windows, or B windows on each device, where every array has a leading device axis.

    Where s devices share windows, `frames` has T/s frames on each of them, and the rest is whole.

    Attributes:
      frames: `[B, T, H, W, 3]` uint8 RGB.
      mask: `[B, positions]` bool, valid grid positions.
      segments: `[B, G, 2]` float32, grid positions.
      labels: `[B, G]` int32, class indices; -1 for padding.
      sample_ids: `[B]` int32, each window's index in the global batch.
      weight: `[B]` float32, 1 for a window, 0 for a window that only fills up the last batch.
      augmentation: what the accelerator does to the frames; each array has a leading axis B.
    """

    frames: Any
    mask: Any
    segments: Any
    labels: Any
    sample_ids: Any
    weight: Any
    augmentation: Augmentation = NO_AUGMENTATION

    def part(self, rows: slice, frames: slice) -> Self:
        """Returns some rows, and of their windows some frames; the rest of a window stays whole."""
        some: Self = jax.tree.map(lambda array: array[rows], self)
        return some._replace(frames=some.frames[:, frames])
