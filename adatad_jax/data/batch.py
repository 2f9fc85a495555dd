"""A batch of training windows as arrays."""

from typing import Any, NamedTuple

from adatad_jax.augmentation.draws import NO_AUGMENTATION, Augmentation


class Batch(NamedTuple):
    """B windows, or with a leading device axis N windows each on several devices.

    Attributes:
      frames: `[B, T, H, W, 3]` uint8 RGB.
      mask: `[B, positions]` bool, valid grid positions.
      segments: `[B, G, 2]` float32, grid positions.
      labels: `[B, G]` int32, -1 for padding.
      sample_ids: `[B]` int32, each window's index in the global batch.
      weight: `[B]` float32, 1 for a window, 0 for one that only fills up the last batch.
      augmentation: what the accelerator does to the frames, each array with a leading `[B]`.
    """

    frames: Any
    mask: Any
    segments: Any
    labels: Any
    sample_ids: Any
    weight: Any
    augmentation: Augmentation = NO_AUGMENTATION
