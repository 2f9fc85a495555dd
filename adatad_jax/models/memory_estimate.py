"""An estimate of the memory that a detector needs, from its shapes alone, before anything is compiled."""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp

from adatad_jax.models.layers import Dtype
from adatad_jax.models.parameter_counts import Count, adapters_count, blocks_count, detector_count, together
from adatad_jax.models.policy import MemoryPolicy
from adatad_jax.models.sizes import CHUNK_FRAMES, CHUNK_TUBELETS, DetectorConfig, ViTConfig

_GIB = 2**30


@dataclass(frozen=True)
class Work:
    """What a device computes at once.

    Attributes:
      vit, detector: dimensions of the model.
      windows: their number.
      frames: of each window that this device has.
      side: of the frames, pixels.
      dtype: in which products compute.
      frozen_dtype: of frozen kernels.
      is_training: whether there are gradients and an optimiser.
      is_full: whether the backbone is trained.
      has_backbone: whether the backbone is computed, and not read as stored features.
      parts: of a batch, which are computed one after the other.
    """

    vit: ViTConfig
    detector: DetectorConfig
    windows: int
    frames: int
    side: int
    dtype: Dtype
    frozen_dtype: Dtype
    is_training: bool = False
    is_full: bool = False
    has_backbone: bool = True
    parts: int = 1

    @property
    def chunks(self) -> int:
        """Returns the number of 16-frame chunks, of all windows."""
        return self.windows * self.frames // CHUNK_FRAMES

    @property
    def tokens(self) -> int:
        """Returns the number of tokens of a chunk."""
        return CHUNK_TUBELETS * (self.side // self.vit.patch) ** 2

    @property
    def trained(self) -> int:
        """Returns the bytes of the parameters that are trained, or may be."""
        trained = together(adapters_count(self.vit), detector_count(self.detector, self.vit.width))
        return 4 * (trained.total + (blocks_count(self.vit).total if self.is_full else 0))

    @property
    def frozen(self) -> int:
        """Returns the bytes of the parameters that are frozen."""
        count = Count() if self.is_full else blocks_count(self.vit)
        return _bytes(self.frozen_dtype) * count.kernels + 4 * count.rest


class Estimate(NamedTuple):
    """Memory in bytes, on each device.

    Attributes:
      arguments: parameters, their moments and average, and the frames.
      gradients: of the trained parameters.
      kept: of the forward pass for the backward pass.
      working: of what is at work at the peak.
    """

    arguments: int
    gradients: int
    kept: int
    working: int

    @property
    def total(self) -> int:
        """Returns the sum."""
        return sum(self)

    def describe(self) -> str:
        """Returns the sum and its parts, in GiB."""
        parts = ", ".join(
            f"{number / _GIB:.2f} {name}" for name, number in self._asdict().items() if number or name == "working"
        )
        return f"{self.total / _GIB:.1f} GiB ({parts})"


def estimate(work: Work, policy: MemoryPolicy) -> Estimate:
    """Estimates the memory that a training step or a prediction needs on each device.

    Args:
      work: what the device computes.
      policy: of the backbone.
    """
    copies = 4 if work.is_training else 1  # parameters, their average, and two moments
    pixels = work.windows * work.parts * work.frames * work.side**2 * 3
    gradients = work.trained * (1 if work.parts == 1 else 2) if work.is_training else 0
    return Estimate(
        arguments=work.frozen + copies * work.trained + pixels,
        gradients=gradients,
        kept=_kept(work, policy),
        working=max(_block(work, policy), _pixels(work), _detector(work)),
    )


def _kept(work: Work, policy: MemoryPolicy) -> int:
    return 0


def _block(work: Work, policy: MemoryPolicy) -> int:
    return 0


def _pixels(work: Work) -> int:
    return 0


def _detector(work: Work) -> int:
    return 0


def _bytes(dtype: Dtype) -> int:
    return int(jnp.dtype(dtype).itemsize)
