"""Mixup (arXiv 1710.09412) and CutMix (arXiv 1905.04899) of a batch of labelled clips, in VideoMAE's proportions.

One draw applies to the whole batch, in which a clip is mixed with its partner: the first with the last, the second with
the last but one. A clip's targets are mixed in the proportion of its pixels.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

MIXUP_ALPHA = 0.8


class Mix(NamedTuple):
    """The draw of a batch.

    Attributes:
      own: float32 scalar, the share of a clip's own pixels; the rest are its partner's.
      cut: bool scalar, whether the partner's pixels fill a box of all frames (CutMix), or pixels are averaged (Mixup).
      box: `[4]` int32, first row, first column, end row, end column (ends exclusive) of the box.
    """

    own: jax.Array
    cut: jax.Array
    box: jax.Array


def draw_mix(key: jax.Array, height: int, width: int, cut_probability: jax.Array | float = 0.5) -> Mix:
    """Draws how a batch is mixed.

    A share is drawn from Beta(0.8, 0.8) for Mixup, and uniformly for CutMix. The sides of CutMix's box are the frame's,
    times the root of the partner's share, around a uniform centre; the box is clipped to the frame, and the share is
    that which is left.

    Args:
      key: of the batch.
      height, width: of the frames, pixels.
      cut_probability: of CutMix; the rest is Mixup.
    """
    choice_key, mixup_key, cutmix_key, centre_key = jax.random.split(key, 4)
    cut = jax.random.uniform(choice_key) < cut_probability
    mixup_share = jax.random.beta(mixup_key, MIXUP_ALPHA, MIXUP_ALPHA)
    cutmix_share = jax.random.uniform(cutmix_key)
    frame = jnp.array([height, width])
    half = (frame * jnp.sqrt(1 - cutmix_share)).astype(jnp.int32) // 2
    centre = jax.random.randint(centre_key, (2,), 0, frame)
    box = jnp.concatenate([jnp.maximum(centre - half, 0), jnp.minimum(centre + half, frame)])
    area = (box[2] - box[0]) * (box[3] - box[1])
    return Mix(jnp.where(cut, 1 - area / (height * width), mixup_share), cut, box)


def mix_clips(frames: jax.Array, partners: jax.Array, mix: Mix) -> jax.Array:
    """Mixes clips with their partners.

    Args:
      frames, partners: `[N, T, H, W, 3]` uint8 RGB.
      mix: the draw of the batch.

    Returns:
      `[N, T, H, W, 3]` float32 in [0, 255].
    """
    top, left, bottom, right = mix.box
    rows, columns = jnp.arange(frames.shape[2])[:, None], jnp.arange(frames.shape[3])
    inside = (top <= rows) & (rows < bottom) & (left <= columns) & (columns < right)
    own = jnp.where(mix.cut, jnp.where(inside, 0.0, 1.0), mix.own)[..., None]
    return own * frames + (1 - own) * partners


def mix_targets(targets: jax.Array, partners: jax.Array, mix: Mix) -> jax.Array:
    """Mixes targets `[N, K]` with those of the partners, in the proportion of the pixels."""
    return mix.own * targets + (1 - mix.own) * partners
