"""The lengths and valid positions of the temporal pyramid, which follow from a window's mask without the network."""

import jax
import jax.numpy as jnp

from adatad_jax.models.sizes import DetectorConfig


def padded_length(config: DetectorConfig, length: int) -> int:
    """Returns the number of grid positions to which a window of `length` is padded: that of training, or more."""
    return (
        config.max_length if length <= config.max_length else -(-length // config.length_factor) * config.length_factor
    )


def level_masks(config: DetectorConfig, mask: jax.Array) -> list[jax.Array]:
    """Returns the valid positions of each level, finest first: every other one of the level below.

    Args:
      config: of the detector.
      mask: `[B, positions]` bool, valid grid positions of windows.

    Returns:
      L arrays `[B, P_l]` bool; `P_0` is the padded length.
    """
    length = mask.shape[1]
    padded = jnp.pad(mask, ((0, 0), (0, padded_length(config, length) - length)))
    return [padded[:, ::stride] for stride in config.strides]
