"""What the backward pass recomputes instead of keeping: whole functions of the residual stream, and groups of clips."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from adatad_jax.models.half_precision import from_bits, to_bits
from adatad_jax.models.policy import MemoryPolicy


def recomputed(
    function: Callable[[jax.Array, Any], jax.Array], policy: MemoryPolicy, in_loop: bool
) -> Callable[[jax.Array, Any], jax.Array]:
    """Returns the same function, of which the backward pass keeps the inputs alone, as far as `policy` wants that.

    Args:
      function: of the residual stream, float32, and of a tree of arrays.
      policy: with `remat`, what the function computes is computed again. The stream that is kept is rounded to
        `stream_dtype`; what the function returns is not.
      in_loop: whether it is the body of a loop, which XLA never merges with its recomputation.
    """
    if not policy.remat:
        return function
    if jnp.dtype(policy.stream_dtype) == jnp.float32:
        result: Callable[[jax.Array, Any], jax.Array] = jax.checkpoint(function, prevent_cse=not in_loop)
        return result

    @jax.custom_vjp
    def run(stream: jax.Array, others: Any) -> jax.Array:
        return function(stream, others)

    def forward(stream: jax.Array, others: Any) -> tuple[jax.Array, tuple[jax.Array, Any]]:
        return function(stream, others), (to_bits(stream, policy.stream_dtype), others)

    def backward(kept: tuple[jax.Array, Any], gradient: jax.Array) -> Any:
        stream, others = kept
        _, pull = jax.vjp(function, from_bits(stream, policy.stream_dtype).astype(jnp.float32), others)
        return pull(gradient)

    run.defvjp(forward, backward)
    return run


def in_groups(
    function: Callable[[Any, Any, Any], jax.Array], module: nn.Module, size: int, clips: Any, shared: Any
) -> jax.Array:
    """Applies a function of clips to groups of them, one after the other; the backward pass has one at work, too.

    What a group has computed is computed again in the backward pass.

    Args:
      function: of the module that owns the parameters, of clips, and of what they share; it maps each clip by itself.
      module: given to `function`.
      size: number of clips of a group; the last may have fewer. 0: all at once, and nothing is computed again.
      clips: tree of arrays `[N, ...]`.
      shared: tree of arrays.

    Returns:
      An array `[N, ...]`.
    """
    n = len(jax.tree.leaves(clips)[0])
    if not 0 < size < n:
        return function(module, clips, shared)
    again = nn.remat(function, prevent_cse=False)
    loop = nn.scan(
        lambda module, shared, group: (shared, again(module, group, shared)),
        variable_broadcast="params",
        split_rngs={"params": False},
    )
    whole = n // size * size
    groups = jax.tree.map(lambda leaf: leaf[:whole].reshape(-1, size, *leaf.shape[1:]), clips)
    out: jax.Array
    _, out = loop(module, shared, groups)  # type: ignore[no-untyped-call]
    out = out.reshape(whole, *out.shape[2:])
    rest = jax.tree.map(lambda leaf: leaf[whole:], clips)
    return out if whole == n else jnp.concatenate([out, again(module, rest, shared)])
