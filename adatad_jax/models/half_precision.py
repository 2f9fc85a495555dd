"""Arrays of half precision that pass through loops.

XLA for CPUs has no slices of bfloat16: to take one, it casts the whole array to float32 and takes the slice of that,
and would do so before the loop, for all steps at once.
"""

from typing import TypeVar

import jax
import jax.numpy as jnp

from adatad_jax.models.layers import Dtype

Tree = TypeVar("Tree")


def to_bits(x: jax.Array, dtype: Dtype) -> jax.Array:
    """Returns the bits of `x` in a dtype of two bytes, as uint16, whose slices are no matter."""
    return jax.lax.bitcast_convert_type(x.astype(dtype), jnp.uint16)


def from_bits(bits: jax.Array, dtype: Dtype) -> jax.Array:
    """Returns what `to_bits` was given, rounded to the dtype."""
    return jax.lax.bitcast_convert_type(bits, dtype)


def layer(stacked: Tree, index: jax.Array) -> Tree:
    """Returns `leaf[index]` of every array of a tree, inside a loop over `index`.

    The barrier ties the arrays to the step, so that no cast of them can leave the loop; inside, it is fused.
    """
    stacked, index = jax.lax.optimization_barrier((stacked, index))
    result: Tree = jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, index, keepdims=False), stacked)
    return result
