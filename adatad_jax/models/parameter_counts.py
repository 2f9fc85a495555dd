"""Numbers of parameters, counted from dimensions alone: nothing is traced for them."""

from typing import NamedTuple

from adatad_jax.models.sizes import TUBELET, DetectorConfig, ViTConfig


class Count(NamedTuple):
    """Numbers of parameters of a part of the model.

    Attributes:
      kernels: in matrices.
      rest: in norms, biases and scales.
    """

    kernels: int = 0
    rest: int = 0

    @property
    def total(self) -> int:
        """Returns the sum."""
        return self.kernels + self.rest

    def times(self, number: int) -> "Count":
        """Returns the count of several such parts."""
        return Count(number * self.kernels, number * self.rest)


def sum_of_counts(*counts: Count) -> Count:
    """Returns the sum of counts."""
    return Count(*map(sum, zip(*counts, strict=True))) if counts else Count()


def blocks_count(vit: ViTConfig) -> Count:
    """Returns the count of a backbone without adapters, and without positions of a checkpoint."""
    c, hidden, pixels = vit.width, vit.mlp_hidden, TUBELET * vit.patch**2 * 3
    block = Count(4 * c * c + 2 * c * hidden, 2 * 2 * c + 2 * c + c + hidden + c)  # norms, q and v, proj, fc1, fc2
    return sum_of_counts(Count(pixels * c, c), block.times(vit.depth))


def adapters_count(vit: ViTConfig) -> Count:
    """Returns the count of all adapters of a backbone."""
    c, h = vit.width, vit.tia_hidden
    convolution = Count(3 * h + h * h, 2 * h) if vit.temporal else Count()  # depthwise and pointwise
    return sum_of_counts(Count(2 * c * h, h + c + 1), convolution).times(len(vit.tia_blocks))


def detector_count(config: DetectorConfig, features: int) -> Count:
    """Returns the count of a detector.

    Args:
      config: its dimensions.
      features: channels of the backbone's features.
    """
    w, levels = config.width, config.branch + 1
    embed = [Count(3 * (w if i else features) * w, 2 * w) for i in range(config.embed)]
    # Per block: two norms, two scales; q, k and v with their convolutions and norms; proj, fc1, fc2.
    block = Count(4 * w * w + 8 * w * w + 3 * 3 * w, (4 + 2) * w + 3 * (2 + 1) * w + w + 4 * w + w)
    hidden = Count(3 * w * w, 2 * w).times(2 * config.head_convs)
    outputs = config.classes + 2
    return sum_of_counts(
        *embed,
        block.times(config.stem + config.branch),
        Count(0, 2 * w * levels),  # the neck
        hidden,
        Count(3 * w * outputs, outputs + levels),
    )
