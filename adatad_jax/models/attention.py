"""Attention over time for the detector: over the whole sequence, or within a local window."""

import jax
import jax.numpy as jnp
import numpy as np

# Added to the logits of keys that must not be seen: exp underflows to an exact 0 in float32, and unlike -inf it cannot
# make a NaN of a row that sees nothing.
MASKED = -1e9
# Queries per block of the local attention, at least: smaller blocks waste the matrix units, larger ones the memory.
MIN_BLOCK = 32


def global_attention(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array) -> jax.Array:
    """Softmax attention of every position over all valid ones.

    Args:
      q, k, v: `[B, T, heads, d]`, q already scaled.
      mask: `[B, T]` bool, valid keys.

    Returns:
      `[B, T, heads, d]`.
    """
    logits = jnp.einsum("bqhd,bkhd->bhqk", q, k).astype(jnp.float32)
    logits = logits + jnp.where(mask, 0, MASKED)[:, None, None, :]
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(logits).astype(v.dtype), v)


def local_attention(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, window: int) -> jax.Array:
    """Softmax attention of every position over the valid ones at most `window // 2` away.

    Queries go in blocks; a block sees its own positions and `window // 2` more on each side, so memory is linear in T.
    Shapes as in `global_attention`.
    """
    batch, length, heads, dim = q.shape
    reach = window // 2
    block = max(MIN_BLOCK, reach)
    blocks = -(-length // block)
    tail = blocks * block - length

    def pad(x: jax.Array, before: int, after: int) -> jax.Array:
        return jnp.pad(x, [(0, 0), (before, after)] + [(0, 0)] * (x.ndim - 2))

    seen = np.arange(blocks)[:, None] * block + np.arange(block + 2 * reach)  # into the keys, padded by `reach`
    near = np.abs(np.arange(block)[:, None] + reach - np.arange(block + 2 * reach)) <= reach
    q = pad(q, 0, tail).reshape(batch, blocks, block, heads, dim)
    k, v, key_mask = (pad(x, reach, reach + tail)[:, seen] for x in (k, v, mask))
    logits = jnp.einsum("bnqhd,bnkhd->bnhqk", q, k).astype(jnp.float32)
    visible = near & key_mask[:, :, None, None, :]
    weights = jax.nn.softmax(logits + jnp.where(visible, 0, MASKED)).astype(v.dtype)
    out = jnp.einsum("bnhqk,bnkhd->bnqhd", weights, v)
    return out.reshape(batch, blocks * block, heads, dim)[:, :length]
