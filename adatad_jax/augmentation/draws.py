"""Random draws of a training window's augmentation: small arrays drawn on the host and applied on the accelerator.

One draw applies to all frames of a window. The magnitudes are those of the published recipe, level 9 of 10. The release
draws the signs and the order of the jitter steps once per run; here every window has its own.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SHEAR_DEGREES = 15.471
ROTATE_DEGREES = 27.0
TRANSLATE_SHARE = 0.18  # share of the side along which the frame moves
CUTOUT_SHARE = 0.18  # side of the square, as a share of the height
BRIGHTNESS = CONTRAST = SATURATION = 0.5
HUE = 0.1


class Operation(IntEnum):
    """The operations. The two of a window are applied in this order; operations up to ROTATE move pixels."""

    SHEAR_X = 0
    SHEAR_Y = 1
    TRANSLATE_X = 2
    TRANSLATE_Y = 3
    ROTATE = 4
    POSTERIZE = 5
    SOLARIZE = 6
    COLOR = 7
    CONTRAST = 8
    BRIGHTNESS = 9
    SHARPNESS = 10
    AUTOCONTRAST = 11
    EQUALIZE = 12
    INVERT = 13
    CUTOUT = 14


class JitterStep(IntEnum):
    """The steps of the colour jitter."""

    BRIGHTNESS = 0
    CONTRAST = 1
    SATURATION = 2
    HUE = 3


class OperationsDraw(NamedTuple):
    """The two operations of a window; with a leading axis B, the operations of a batch.

    Attributes:
      operations: `[2]` int32, distinct `Operation`s in ascending order.
      matrices: `[2, 2, 3]` float32, one map (x, y, 1) -> (x, y) per operation, in pixels, from a place in the result to
        its source in the frame; the identity if the operation moves no pixels.
      cutout: `[4]` int32, the square of the cutout: first row, first column, end row, end column (ends exclusive).
    """

    operations: Any
    matrices: Any
    cutout: Any


class JitterDraw(NamedTuple):
    """The colour jitter of a window; with a leading axis B, the colour jitter of a batch.

    Attributes:
      order: `[4]` int32, the `JitterStep`s in the order of their application.
      factors: `[3]` float32, the factors of brightness, contrast and saturation.
      hue: int32, added to the hue, in steps of two degrees.
    """

    order: Any
    factors: Any
    hue: Any


class Augmentation(NamedTuple):
    """The draws of a window; with a leading axis B, the draws of a batch. A part that is switched off is None."""

    operations: OperationsDraw | None
    jitter: JitterDraw | None


NO_AUGMENTATION = Augmentation(None, None)


def draw_augmentation(
    rng: np.random.Generator, height: int, width: int, rand_augment: bool, color_jitter: bool
) -> Augmentation:
    """Draws the augmentation of one window.

    Args:
      rng: the source of randomness.
      height: height of the frames to augment, in pixels.
      width: width of the frames to augment, in pixels.
      rand_augment: whether to draw two of the fifteen operations.
      color_jitter: whether to draw the colour jitter.
    """
    return Augmentation(
        draw_operations(rng, height, width) if rand_augment else None, draw_jitter(rng) if color_jitter else None
    )


def draw_operations(rng: np.random.Generator, height: int, width: int) -> OperationsDraw:
    """Draws two distinct operations, the signs of their magnitudes, and the place of a cutout."""
    operations = np.sort(rng.choice(len(Operation), 2, replace=False))
    signs = rng.choice((-1, 1), 2)
    centre = rng.random(2) * (height, width)
    half = CUTOUT_SHARE * height / 2
    # the ends are truncated, then clipped to the frame
    corners = np.clip(np.concatenate([centre - half, centre + half]).astype(np.int32), 0, [height, width] * 2)
    matrices = [
        source_matrix(Operation(operation), int(sign), height, width)
        for operation, sign in zip(operations, signs, strict=True)
    ]
    return OperationsDraw(operations.astype(np.int32), np.array(matrices, np.float32), corners.astype(np.int32))


def draw_jitter(rng: np.random.Generator) -> JitterDraw:
    """Draws the order of the four steps, three factors from U(0.5, 1.5), and a hue shift of 255 * U(-0.1, 0.1)."""
    spread = np.array([BRIGHTNESS, CONTRAST, SATURATION])
    return JitterDraw(
        rng.permutation(len(JitterStep)).astype(np.int32),
        rng.uniform(1 - spread, 1 + spread).astype(np.float32),
        np.int32(rng.uniform(-HUE, HUE) * 255),
    )


def source_matrix(operation: Operation, sign: int, height: int, width: int) -> NDArray[np.float64]:
    """Returns the map from places in a moved frame to their sources: `[2, 3]`, (x, y, 1) -> (x, y), in pixels.

    Shear and rotation leave the frame's centre (width / 2 - 0.5, height / 2 - 0.5) in place. A positive sign moves the
    content right or down, shears the lower half to the right or the right half down, or turns the content clockwise.

    Args:
      operation: the operation; operations after ROTATE give the identity.
      sign: 1 or -1.
      height: height of the frame, in pixels.
      width: width of the frame, in pixels.
    """
    shear = sign * math.tan(math.radians(SHEAR_DEGREES))
    angle = sign * math.radians(ROTATE_DEGREES)
    linear, shift = np.eye(2), np.zeros(2)
    match operation:
        case Operation.SHEAR_X:
            linear[0, 1] = -shear
        case Operation.SHEAR_Y:
            linear[1, 0] = -shear
        case Operation.TRANSLATE_X:
            shift[0] = -sign * TRANSLATE_SHARE * width
        case Operation.TRANSLATE_Y:
            shift[1] = -sign * TRANSLATE_SHARE * height
        case Operation.ROTATE:
            linear = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    centre = np.array([width / 2 - 0.5, height / 2 - 0.5])
    return np.column_stack([linear, centre - linear @ centre + shift])
