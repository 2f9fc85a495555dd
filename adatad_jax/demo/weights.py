"""A small VideoMAE checkpoint with structured weights, which the demo uses in place of a pre-trained one.

No small pre-trained VideoMAE exists, and the features of a random frozen encoder say nothing about where in the frame
something is, as they are means over the frame. The weights here therefore encode position, as trained weights do. The
patch embedding is a space-time cosine basis. The position table marks the cells of a 3 x 3 layout. The first block's
MLP copies brightness and its slopes into channels of the token's own cell, where the mean over the frame keeps them
apart. The other weights disturb the residual stream only gently.
"""

import numpy as np

from adatad_jax.models.sizes import CHUNK_TUBELETS, TUBELET

WIDTH, DEPTH = 64, 3
PATCH, GRID, CELLS = 16, 14, 3
CONTENT = 24  # channels of the patch embedding; the channels of the cells' copies and of their marks follow
COPIED = 3  # content channels that are copied: mean brightness, its slope in x, its slope in y
PLACES = CELLS * CELLS
COPIES = slice(CONTENT, CONTENT + COPIED * PLACES)
MARKS = slice(COPIES.stop, COPIES.stop + PLACES)
MARK = 4.0  # size of a cell's mark in the position table
OPEN, SHUT = 1.0, -6.0  # approximately what the gate of a copying unit adds in its own cell, and elsewhere
COPY_GAIN = 3.0
EMBEDDING_SCALE, BRANCH_SCALE = 0.08, 0.2
CLASSES = 400


def cosine_basis(length: int) -> np.ndarray:
    """Returns the orthonormal cosine (DCT-II) basis `[frequency, position]`, both of size `length`."""
    frequency, position = np.arange(length)[:, None], np.arange(length)[None]
    basis: np.ndarray = np.cos(np.pi * frequency * (position + 0.5) / length) * np.sqrt(2 / length)
    basis[0] /= np.sqrt(2)
    return basis


def patch_embedding() -> np.ndarray:
    """Returns the lowest space-time-colour cosines of a tubelet's patch, `[C, 3, 2, 16, 16]`.

    Brightness and its slopes come first. The colours are brightness, red-blue and green-magenta. Rows after `CONTENT`
    are zero.
    """
    colours = np.linalg.qr(np.array([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]]).T)[0].T
    colours *= np.sign(colours[:, :1])
    time, space = cosine_basis(TUBELET), cosine_basis(PATCH)
    # Rank by spatial frequency; a change in time ranks between the slopes and finer patterns, colour comes late.
    colour, step, row, column = np.meshgrid(*(np.arange(n) for n in (3, TUBELET, PATCH, PATCH)), indexing="ij")
    rank = row + column + 1.5 * step + np.take((0.0, 2.5, 3.5), colour)
    chosen = np.argsort(rank, axis=None, kind="stable")[:CONTENT]
    c, t, y, x = (axis.ravel()[chosen] for axis in (colour, step, row, column))
    kernel = np.zeros((WIDTH, 3, TUBELET, PATCH, PATCH))
    kernel[:CONTENT] = EMBEDDING_SCALE * np.einsum("ki,kj,kl,km->kijlm", colours[c], time[t], space[y], space[x])
    return kernel


def position_table() -> np.ndarray:
    """Returns `[1, 8*14*14, C]`: every place of the pre-training grid carries the mark of its cell."""
    cell = np.arange(GRID) * CELLS // GRID
    place = np.tile((cell[:, None] * CELLS + cell).ravel(), CHUNK_TUBELETS)
    table = np.zeros((1, len(place), WIDTH))
    table[0, np.arange(len(place)), MARKS.start + place] = MARK
    return table


def copying_mlp() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Makes an MLP that copies content into the channels of its cell.

    Two units of opposite sign carry each value, since `gelu(z) - gelu(-z) = z`. A gate on the cell's mark shuts both
    units in all other cells.

    Returns:
      First weight `[4C, C]`, its bias `[4C]`, and second weight `[C, 4C]`.
    """
    first, bias, second = np.zeros((4 * WIDTH, WIDTH)), np.zeros(4 * WIDTH), np.zeros((WIDTH, 4 * WIDTH))
    unit = 0
    for place in range(PLACES):
        gate = np.full(PLACES, -1 / (PLACES - 1))
        gate[place] = 1.0
        for content in range(COPIED):
            for sign in (1.0, -1.0):
                first[unit, content] = sign
                # After the norm a mark stands about 4 above the other cells' channels.
                first[unit, MARKS] = gate * (OPEN - SHUT) / MARK
                bias[unit] = SHUT
                second[COPIES.start + place * COPIED + content, unit] = sign * COPY_GAIN
                unit += 1
    return first, bias, second


def videomae_state(seed: int) -> dict[str, np.ndarray]:
    """Returns all tensors of a VideoMAE classifier of size "tiny" in mmaction layout, float32, for 48-pixel frames.

    Args:
      seed: seed of the weights that are not structured.
    """
    rng = np.random.default_rng(seed)
    hidden = 4 * WIDTH

    def linear(fan_out: int, fan_in: int, scale: float = 1.0) -> np.ndarray:
        return rng.normal(0, scale / np.sqrt(fan_in), (fan_out, fan_in))

    state = {
        "backbone.pos_embed": position_table(),
        "backbone.patch_embed.projection.weight": patch_embedding(),
        "backbone.patch_embed.projection.bias": np.zeros(WIDTH),
    }
    for index in range(DEPTH):
        block = f"backbone.blocks.{index}."
        state |= {
            block + "norm1.weight": np.ones(WIDTH),
            block + "norm1.bias": np.zeros(WIDTH),
            block + "attn.q_bias": np.zeros(WIDTH),
            block + "attn.v_bias": np.zeros(WIDTH),
            block + "attn.qkv.weight": linear(3 * WIDTH, WIDTH),
            block + "attn.proj.weight": linear(WIDTH, WIDTH, BRANCH_SCALE),
            block + "attn.proj.bias": np.zeros(WIDTH),
            block + "norm2.weight": np.ones(WIDTH),
            block + "norm2.bias": np.zeros(WIDTH),
            block + "mlp.layers.0.0.weight": linear(hidden, WIDTH),
            block + "mlp.layers.0.0.bias": np.zeros(hidden),
            block + "mlp.layers.1.weight": linear(WIDTH, hidden, BRANCH_SCALE),
            block + "mlp.layers.1.bias": np.zeros(WIDTH),
        }
    first, bias, second = copying_mlp()
    state["backbone.blocks.0.mlp.layers.0.0.weight"] = first
    state["backbone.blocks.0.mlp.layers.0.0.bias"] = bias
    state["backbone.blocks.0.mlp.layers.1.weight"] = second
    state |= {
        "backbone.fc_norm.weight": np.ones(WIDTH),
        "backbone.fc_norm.bias": np.zeros(WIDTH),
        "cls_head.fc_cls.weight": linear(CLASSES, WIDTH),
        "cls_head.fc_cls.bias": np.zeros(CLASSES),
    }
    return {key: value.astype(np.float32) for key, value in state.items()}
