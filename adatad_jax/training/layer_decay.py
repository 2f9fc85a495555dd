"""Layer-wise decay of the learning rate, for fine-tuning: the earlier a layer, the lower its rate."""

import re

import flax.traverse_util
import jax
import numpy as np
import optax
from numpy.typing import NDArray

from adatad_jax.models.layers import Params

_BLOCKS = re.compile(r"blocks_(\d+)_(\d+)")


def layer_factors(params: Params, depth: int, decay: float) -> Params:
    """Returns the factor of every parameter's learning rate.

    The factor is decay^(depth - i) for block i of the encoder, decay^(depth + 1) for patch embedding and positions, and
    1 for what follows the blocks.

    Args:
      params: of a `Classifier`; arrays, or their shapes.
      depth: blocks of the encoder.
      decay: factor from one layer to the layer before it, in (0, 1].

    Returns:
      A tree of float32 arrays that broadcast against the parameters: stacked blocks have one factor per block.
    """

    def factor(path: tuple[str, ...], leaf: jax.Array) -> np.ndarray:
        exponents: NDArray[np.float64] = np.zeros(())
        if path[0] == "encoder":
            if match := _BLOCKS.fullmatch(path[1]):
                blocks = np.arange(float(match[1]), float(match[2]) + 1)
                exponents = (depth - blocks).reshape(-1, *(1,) * (len(leaf.shape) - 1))
            elif path[1] in ("patch_embed", "pos_embed"):
                exponents = exponents + depth + 1
        return np.power(decay, exponents).astype(np.float32)

    flat = flax.traverse_util.flatten_dict(params)
    result: Params = flax.traverse_util.unflatten_dict({path: factor(path, leaf) for path, leaf in flat.items()})
    return result


def scale_by_factors(factors: Params) -> optax.GradientTransformation:
    """Makes the last link of an optimiser: it multiplies updates, decay included, by `layer_factors`."""
    return optax.stateless(lambda updates, _: jax.tree.map(lambda update, f: update * f, updates, factors))
