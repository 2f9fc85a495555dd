"""Temporal attention of the detector: over the whole sequence, or within a local window."""

import jax
import jax.numpy as jnp
import numpy as np

# Added to the logits of masked keys. Its exp underflows to exactly 0 in float32, and unlike -inf it gives no NaN in a
# row whose keys are all masked.
MASKED = -1e9
# Least number of queries per block of the local attention: smaller blocks waste the matrix units, larger ones memory.
MIN_BLOCK = 32


def global_attention(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array) -> jax.Array:
    """Computes softmax attention of every position over all valid positions.

    The softmax is in float32. All weights are in memory at once, as they are small: for 768 positions and 4 heads those
    of a window take 9 MiB, and a layer of 512 channels computes 4 T^2 C = 1.2 GFLOP, where the backbone's forward pass
    of that window computes two thousand (VideoMAE-S).

    Args:
      q, k, v: `[B, T, heads, C/heads]`, q already scaled.
      mask: `[B, T]` bool, valid keys.

    Returns:
      `[B, T, heads, C/heads]`, of the dtype of v.
    """
    logits = jnp.einsum("bqhd,bkhd->bhqk", q, k).astype(jnp.float32)
    logits = logits + jnp.where(mask, 0, MASKED)[:, None, None, :]
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(logits).astype(v.dtype), v)


def local_attention(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, window: int) -> jax.Array:
    """Computes softmax attention of every position over the valid positions at most `window // 2` away.

    The queries are split into blocks. A block sees its own positions and `window // 2` more on each side, so memory is
    linear in T.

    Args:
      q, k, v, mask: as in `global_attention`.
      window: odd width of the window, positions.

    Returns:
      As `global_attention`.
    """
    batch, length, heads, dim = q.shape
    reach = window // 2
    block = max(MIN_BLOCK, reach)
    blocks = -(-length // block)
    tail = blocks * block - length

    def pad(x: jax.Array, before: int, after: int) -> jax.Array:
        """Pads `[B, T, ...]` with zeros along T."""
        return jnp.pad(x, [(0, 0), (before, after)] + [(0, 0)] * (x.ndim - 2))

    seen = np.arange(blocks)[:, None] * block + np.arange(block + 2 * reach)  # indices into the keys, padded by `reach`
    near = np.abs(np.arange(block)[:, None] + reach - np.arange(block + 2 * reach)) <= reach
    q = pad(q, 0, tail).reshape(batch, blocks, block, heads, dim)
    k, v, key_mask = (pad(x, reach, reach + tail)[:, seen] for x in (k, v, mask))
    logits = jnp.einsum("bnqhd,bnkhd->bnhqk", q, k).astype(jnp.float32)
    visible = near & key_mask[:, :, None, None, :]
    weights = jax.nn.softmax(logits + jnp.where(visible, 0, MASKED)).astype(v.dtype)
    out = jnp.einsum("bnhqk,bnkhd->bnqhd", weights, v)
    return out.reshape(batch, blocks * block, heads, dim)[:, :length]
