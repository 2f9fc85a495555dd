"""Tube masks (arXiv 2203.12602): the same positions of a frame are masked at all times of a clip."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from adatad_jax.errors import UserError
from adatad_jax.models.sizes import CHUNK_TUBELETS


class TubeMasks(NamedTuple):
    """The tokens of N clips, split in two. Tokens are numbered by t, h, w; both parts ascend.

    Attributes:
      visible: `[N, V]` int32, the tokens that the encoder sees.
      masked: `[N, M]` int32, the tokens to predict.
    """

    visible: jax.Array
    masked: jax.Array


def masked_positions(ratio: float, positions: int) -> int:
    """Returns how many positions of a frame are masked, int(ratio * positions).

    Args:
      ratio: share to mask.
      positions: h*w, the patches of a frame.

    Raises:
      UserError: nothing would be masked, or nothing visible.
    """
    masked = int(ratio * positions)
    if not 0 < masked < positions:
        left = "masked" if masked < 1 else "visible"
        raise UserError(
            f"mask ratio {ratio:g} of {positions} patches per frame leaves nothing {left}: expected a ratio of at "
            f"least 1/{positions} and below 1"
        )
    return masked


def draw_tube_masks(key: jax.Array, sample_ids: jax.Array, positions: int, masked: int) -> TubeMasks:
    """Draws a tube mask for each clip, which depends on the key and the clip's id alone.

    Args:
      key: one key for the batch.
      sample_ids: `[N]` int, each clip's index in the global batch.
      positions: h*w, the patches of a frame.
      masked: how many of them are masked (`masked_positions`).
    """

    def draw(sample_id: jax.Array) -> tuple[jax.Array, jax.Array]:
        order = jax.random.permutation(jax.random.fold_in(key, sample_id), positions)
        return jnp.sort(order[masked:]), jnp.sort(order[:masked])

    def at_all_times(places: jax.Array) -> jax.Array:
        starts = jnp.arange(CHUNK_TUBELETS, dtype=places.dtype) * positions
        return (starts[:, None] + places[:, None, :]).reshape(len(places), -1)

    visible, hidden = jax.vmap(draw)(sample_ids)
    return TubeMasks(at_all_times(visible), at_all_times(hidden))
