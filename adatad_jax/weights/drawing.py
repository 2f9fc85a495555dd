"""The parameters of a model that no weights give: drawn from a seed."""

from collections.abc import Callable
from typing import Any

import flax.traverse_util
import jax

from adatad_jax.devices.compilation import uncollected
from adatad_jax.models.layers import Params


def draw_parameters(init: Callable[[jax.Array], Any], seed: int, wanted: Callable[[tuple[str, ...]], bool]) -> Params:
    """Returns the tree of a model's parameters: those that are wanted are drawn, the others are shapes and dtypes.

    Args:
      init: draws all parameters from a key.
      seed: of the key.
      wanted: tells whether the parameter of a path is drawn.
    """
    leaves: dict[tuple[str, ...], Any] = {}

    def drawn(key: jax.Array) -> dict[tuple[str, ...], jax.Array]:
        whole = flax.traverse_util.flatten_dict(init(key))
        leaves.update({path: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for path, leaf in whole.items()})
        return {path: leaf for path, leaf in whole.items() if wanted(path)}

    # Traced once, and compiled as one function, so that XLA drops draws that nothing reads: up to a billion parameters.
    key = jax.random.key(seed)
    with uncollected():
        traced = jax.jit(drawn).trace(key)
    if traced.out_info:
        leaves |= jax.device_get(traced.lower().compile()(key))
    params: Params = flax.traverse_util.unflatten_dict(leaves)
    return params
