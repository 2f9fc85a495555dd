"""The multi-scale crop of VideoMAE's pre-training: one box per clip, drawn on the host."""

from __future__ import annotations

import numpy as np

SCALES = (1, 0.875, 0.75, 0.66)  # of the crop's sides, as shares of the frame's short side
STEPS_APART = 1  # at most between the scales of height and width
SNAP = 3  # a side that is less than this many pixels off the target size is set to it
# Places of the crop (row, column), in quarters of the room beside it: corners, centre, middles of sides, quarters.
PLACES = (
    *((0, 0), (0, 4), (4, 0), (4, 4), (2, 2)),
    *((2, 0), (2, 4), (4, 2), (0, 2)),
    *((1, 1), (1, 3), (3, 1), (3, 3)),
)


def draw_multi_scale_crop(rng: np.random.Generator, height: int, width: int, size: int) -> tuple[int, int, int, int]:
    """Draws the box of a multi-scale crop, which is then resized to the target size.

    Height and width of the box are drawn from ten pairs, each side one of four scales of the frame's short side and at
    most one step from the other. The box is at one of thirteen places.

    Args:
      rng: the source of randomness.
      height, width: of the frame, pixels.
      size: the target size, pixels.

    Returns:
      (top, left, height, width) in pixels.
    """
    short = min(height, width)
    scaled = [int(short * scale) for scale in SCALES]
    sides = [size if abs(side - size) < SNAP and size <= short else side for side in scaled]
    pairs = [(h, w) for i, h in enumerate(sides) for j, w in enumerate(sides) if abs(i - j) <= STEPS_APART]
    box_height, box_width = pairs[rng.integers(len(pairs))]
    row, column = PLACES[rng.integers(len(PLACES))]
    return row * ((height - box_height) // 4), column * ((width - box_width) // 4), box_height, box_width
