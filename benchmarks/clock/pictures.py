"""Pictures that show a number in black and white blocks, which survive lossy coding, and how to read them."""

import numpy as np
from numpy.typing import NDArray

SIDE = 4  # blocks per row and per column
BITS = 13  # of the number; the other blocks hold a check sum
BLACK, WHITE = 20, 235
UNCLEAR = (95, 160)  # brightness of a block that is neither black nor white
NOTHING = -1


def draw(number: int, height: int, width: int) -> NDArray[np.uint8]:
    """Returns a picture `[height, width, 3]` uint8 RGB that shows a number below 8192."""
    bits = (_code(np.array(number)) >> np.arange(SIDE * SIDE)) & 1
    blocks = np.where(bits, WHITE, BLACK).astype(np.uint8).reshape(SIDE, SIDE, 1)
    return np.tile(blocks.repeat(height // SIDE, 0).repeat(width // SIDE, 1), 3)


def numbers(pictures: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Reads what pictures `[n, H, W, 3]` show: `[n]` int64, `NOTHING` for a picture that shows no number."""
    light = pictures[..., 1]
    height, width = light.shape[1] // SIDE, light.shape[2] // SIDE
    levels = np.empty((len(light), SIDE * SIDE))
    for block in range(SIDE * SIDE):
        top, left = block // SIDE * height, block % SIDE * width
        inside = light[:, top + height // 4 : top + height - height // 4, left + width // 4 : left + width - width // 4]
        levels[:, block] = inside.mean((1, 2))
    code = ((levels > 128).astype(np.int64) << np.arange(SIDE * SIDE)).sum(1)
    found = code & (1 << BITS) - 1
    clear = ((levels < UNCLEAR[0]) | (levels > UNCLEAR[1])).all(1)
    return np.where(clear & (_code(found) == code), found, NOTHING)


def _code(number: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns numbers with three more bits, so that a mixture of two pictures is not taken for a third.

    The check sum is never the one of an all black or all white picture, so that a blank picture shows nothing.
    """
    check = 5 ^ number ^ number >> 3 ^ number >> 6 ^ number >> 9 ^ number >> 12
    return number | (check & 7) << BITS
