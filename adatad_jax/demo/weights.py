"""A small VideoMAE checkpoint with structured weights, standing in for the pre-trained one in the demo.

No small pre-trained VideoMAE exists, and adapters on a random frozen encoder have little to work with. So the patch
embedding is a space-time cosine basis (what the first layer of a trained model resembles) and the blocks disturb the
residual stream only gently: the encoder passes on what is in each patch, and its adapters have to find the motion.
"""

from __future__ import annotations

import numpy as np

from adatad_jax.errors import UserError

TUBELET, PATCH, GRID = 2, 16, 14
_COLOURS = np.linalg.qr(np.array([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]]).T)[0].T
_COLOUR_RANK = (0.0, 2.5, 3.5)
_EMBEDDING_SCALE = 0.08
_BRANCH_SCALE = 0.2
CLASSES = 400


def sinusoid_table(positions: int, embed_dims: int) -> np.ndarray:
    """The fixed position table, float32 `[1, positions, C]`: angle pos / 10000^(2*(i//2)/C), even sin, odd cos."""
    exponent = 2 * (np.arange(embed_dims) // 2) / embed_dims
    angle = np.arange(positions)[:, None] / 10000.0**exponent
    table = np.where(np.arange(embed_dims) % 2 == 0, np.sin(angle), np.cos(angle))
    return table[None].astype(np.float32)


def cosine_basis(length: int) -> np.ndarray:
    """Orthonormal cosine (DCT-II) basis `[frequency, position]`, both of size `length`."""
    frequency, position = np.arange(length)[:, None], np.arange(length)[None]
    basis = np.cos(np.pi * frequency * (position + 0.5) / length) * np.sqrt(2 / length)
    basis[0] /= np.sqrt(2)
    return basis


def patch_embedding(embed_dims: int) -> np.ndarray:
    """The `embed_dims` lowest space-time-colour cosines over a tubelet's patch, `[C, 3, 2, 16, 16]`, orthogonal rows."""
    time, space = cosine_basis(TUBELET), cosine_basis(PATCH)
    # Rank by spatial frequency; a change in time counts little, since motion is what adapters need, colour counts much.
    colour, step, row, column = np.meshgrid(*(np.arange(n) for n in (3, TUBELET, PATCH, PATCH)), indexing="ij")
    rank = row + column + 0.5 * step + np.take(_COLOUR_RANK, colour)
    chosen = np.argsort(rank, axis=None, kind="stable")[:embed_dims]
    c, t, y, x = (axis.ravel()[chosen] for axis in (colour, step, row, column))
    return _EMBEDDING_SCALE * np.einsum("ki,kj,kl,km->kijlm", _COLOURS[c], time[t], space[y], space[x])


def videomae_state(embed_dims: int, depth: int, *, seed: int) -> dict[str, np.ndarray]:
    """All tensors of a VideoMAE classification checkpoint in mmaction layout, float32, `backbone.` and `cls_head.` keys.

    `embed_dims` is the width C, `depth` the number of blocks (MLP ratio 4, patch 16, tubelet 2, 224-pixel position
    table); the number of heads is not in a checkpoint. Raises `UserError` for a width the basis cannot fill.
    """
    largest = 3 * TUBELET * PATCH**2
    if not 0 < embed_dims <= largest or depth < 1:
        raise UserError(
            f"demo encoder: embed_dims is {embed_dims} and depth {depth}; expected embed_dims from 1 to {largest} "
            "(the pixels of a tubelet's patch) and depth of at least 1"
        )
    rng = np.random.default_rng(seed)
    width, hidden = embed_dims, 4 * embed_dims

    def linear(fan_out: int, fan_in: int, scale: float = 1.0) -> np.ndarray:
        return rng.normal(0, scale / np.sqrt(fan_in), (fan_out, fan_in))

    state: dict[str, np.ndarray] = {
        "backbone.pos_embed": sinusoid_table(8 * GRID**2, width),
        "backbone.patch_embed.projection.weight": patch_embedding(width),
        "backbone.patch_embed.projection.bias": np.zeros(width),
    }
    for index in range(depth):
        block = f"backbone.blocks.{index}."
        state |= {
            block + "norm1.weight": np.ones(width),
            block + "norm1.bias": np.zeros(width),
            block + "attn.q_bias": np.zeros(width),
            block + "attn.v_bias": np.zeros(width),
            block + "attn.qkv.weight": linear(3 * width, width),
            block + "attn.proj.weight": linear(width, width, _BRANCH_SCALE),
            block + "attn.proj.bias": np.zeros(width),
            block + "norm2.weight": np.ones(width),
            block + "norm2.bias": np.zeros(width),
            block + "mlp.layers.0.0.weight": linear(hidden, width),
            block + "mlp.layers.0.0.bias": np.zeros(hidden),
            block + "mlp.layers.1.weight": linear(width, hidden, _BRANCH_SCALE),
            block + "mlp.layers.1.bias": np.zeros(width),
        }
    state |= {
        "backbone.fc_norm.weight": np.ones(width),
        "backbone.fc_norm.bias": np.zeros(width),
        "cls_head.fc_cls.weight": linear(CLASSES, width),
        "cls_head.fc_cls.bias": np.zeros(CLASSES),
    }
    return {key: value.astype(np.float32) for key, value in state.items()}
