"""What a backbone keeps in memory for the backward pass, and how much of it is at work at once."""

from dataclasses import dataclass

import jax.numpy as jnp

from adatad_jax.models.layers import Dtype


@dataclass(frozen=True)
class MemoryPolicy:
    """How a backbone trades time for memory. None of it changes what is computed, beyond rounding.

    The dtype of frozen weights is no part of it: parameters have it before a model sees them (`with_frozen_in`).

    Attributes:
      remat: whether the activations of a block are recomputed in the backward pass instead of kept.
      attention_chunks: number of 16-frame chunks that one block computes at once, attention and MLP; 0: all.
      mlp_chunks: of these, the number that its MLP computes at once; 0: all of them.
      stream_dtype: of the residual stream that is kept between blocks for the backward pass.
    """

    remat: bool = False
    attention_chunks: int = 0
    mlp_chunks: int = 0
    stream_dtype: Dtype = jnp.float32
