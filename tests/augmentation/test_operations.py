"""Each operation, compared with PIL, OpenCV or arithmetic by hand."""

from collections.abc import Callable

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from adatad_jax.augmentation import operations
from adatad_jax.augmentation.draws import Operation, source_matrix

HEIGHT, WIDTH = 48, 56


def smooth(seed: int, low: int = 0, high: int = 255) -> np.ndarray:
    """Returns a blurred random frame [H, W, 3] whose levels reach from low to high in every channel."""
    rng = np.random.default_rng(seed)
    frame = cv2.GaussianBlur(rng.random((HEIGHT, WIDTH, 3)), (0, 0), 4)
    lowest, highest = frame.min((0, 1)), frame.max((0, 1))
    return np.round(low + (frame - lowest) / (highest - lowest) * (high - low)).astype(np.uint8)


# unlike frames, so that a statistic taken over all of them would show
FRAMES = np.stack(
    [
        np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8),
        smooth(1),
        smooth(2, 0, 255) // 2 + 128,
        smooth(3, 40, 90),
    ]
)


def run(operation: Callable[..., jax.Array], frames: np.ndarray, *arguments: np.ndarray) -> np.ndarray:
    """Applies the operation to frames [n, H, W, 3]."""
    planes = jax.jit(operation)(np.moveaxis(frames, -1, 1), *arguments)
    assert planes.dtype == jnp.uint8
    return np.moveaxis(np.asarray(planes), 1, -1)


def each(function: Callable[[Image.Image], Image.Image], frames: np.ndarray) -> np.ndarray:
    """Applies a function of PIL to every frame."""
    return np.stack([np.asarray(function(Image.fromarray(frame))) for frame in frames])


@pytest.mark.parametrize(
    ("operation", "reference"),
    [
        (operations.posterize, lambda image: ImageOps.posterize(image, 3)),
        (operations.solarize, lambda image: ImageOps.solarize(image, 230)),
        (operations.invert, ImageOps.invert),
        (operations.enhance_color, lambda image: ImageEnhance.Color(image).enhance(1.72)),
        (operations.enhance_contrast, lambda image: ImageEnhance.Contrast(image).enhance(1.72)),
        (operations.enhance_brightness, lambda image: ImageEnhance.Brightness(image).enhance(1.72)),
        (operations.enhance_sharpness, lambda image: ImageEnhance.Sharpness(image).enhance(1.72)),
    ],
)
def test_equals_pil(
    operation: Callable[[jax.Array], jax.Array], reference: Callable[[Image.Image], Image.Image]
) -> None:
    np.testing.assert_array_equal(run(operation, FRAMES), each(reference, FRAMES))


def test_colour_of_every_level_pair_equals_pil() -> None:
    # green and blue over all their levels, red over some: every pair of (grey, level) that is likely to round
    red, green, blue = np.meshgrid(np.arange(0, 256, 51), np.arange(256), np.arange(256), indexing="ij")
    frames = np.stack([red, green, blue], -1).astype(np.uint8)
    expected = each(lambda image: ImageEnhance.Color(image).enhance(1.72), frames)
    np.testing.assert_array_equal(run(operations.enhance_color, frames), expected)


@pytest.mark.parametrize("shape", [(1, 7), (2, 2), (3, 3)])
def test_sharpness_leaves_the_border_of_small_frames(shape: tuple[int, int]) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (1, *shape, 3), np.uint8)
    expected = each(lambda image: ImageEnhance.Sharpness(image).enhance(1.72), frames)
    np.testing.assert_array_equal(run(operations.enhance_sharpness, frames), expected)


def test_autocontrast() -> None:
    lowest = FRAMES.min((1, 2), keepdims=True).astype(np.float64)
    highest = FRAMES.max((1, 2), keepdims=True)
    expected = np.trunc((FRAMES - lowest) * 255 / (highest - lowest))
    ours = run(operations.autocontrast, FRAMES)
    np.testing.assert_array_equal(ours, expected)
    # PIL multiplies by a rounded 255 / (hi - lo): a whole level may fall just below itself
    assert np.abs(ours - each(ImageOps.autocontrast, FRAMES).astype(int)).max() <= 1


def test_autocontrast_of_every_range() -> None:
    # row n holds the levels 0..n: floor(v * 255 / n)
    levels = np.minimum(np.arange(256)[None, :], np.arange(1, 256)[:, None])
    frames = np.repeat(levels[:, None, :, None], 3, axis=-1).astype(np.uint8)
    expected = frames.astype(int) * 255 // np.arange(1, 256)[:, None, None, None]
    np.testing.assert_array_equal(run(operations.autocontrast, frames), expected)


def test_equalize_equals_pil_where_white_occurs() -> None:
    # PIL leaves the highest level that occurs out of the step, the release level 255
    frames = FRAMES.copy()
    frames[:, 0, :3] = 255
    np.testing.assert_array_equal(run(operations.equalize, frames), each(ImageOps.equalize, frames))


def test_equalize_by_hand() -> None:
    # 510 pixels of 10, 255 of 20, 255 of 30: step = 1020 // 255 = 4, so 10 -> 2 // 4, 20 -> (2 + 510) // 4 = 128,
    # 30 -> (2 + 765) // 4 = 191
    levels = np.repeat([10, 20, 30], [510, 255, 255]).reshape(1, 30, 34, 1)
    equalized = run(operations.equalize, np.repeat(levels, 3, axis=-1).astype(np.uint8))
    expected = np.repeat([0, 128, 191], [510, 255, 255]).reshape(1, 30, 34, 1)
    np.testing.assert_array_equal(equalized, np.repeat(expected, 3, axis=-1))


@pytest.mark.parametrize("operation", [operations.autocontrast, operations.equalize])
@pytest.mark.parametrize("level", [0, 77, 255])
def test_channel_of_one_level_stays(operation: Callable[[jax.Array], jax.Array], level: int) -> None:
    frames = FRAMES.copy()
    frames[..., 1] = level
    ours = run(operation, frames)
    assert (ours[..., 1] == level).all()
    np.testing.assert_array_equal(ours[..., 0], run(operation, FRAMES)[..., 0])


def test_cutout() -> None:
    expected = FRAMES.copy()
    expected[:, 5:20, 40:56] = 128
    np.testing.assert_array_equal(run(operations.cutout, FRAMES, np.int32([5, 40, 20, 56])), expected)


GEOMETRIC = list(Operation)[: Operation.ROTATE + 1]


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("operation", GEOMETRIC)
def test_warp_is_opencvs(operation: Operation, sign: int) -> None:
    matrix = source_matrix(operation, sign, HEIGHT, WIDTH)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    expected = np.stack([cv2.warpAffine(frame, matrix, (WIDTH, HEIGHT), flags=flags) for frame in FRAMES])
    ours = run(operations.warp, FRAMES, matrix.astype(np.float32))
    # where the exact level lies half way, float32 decides
    difference = np.abs(ours.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


def test_warp_by_half_a_pixel_blends_with_black() -> None:
    frames = np.full((1, 2, 3, 3), 100, np.uint8)
    half_right = np.float32([[1, 0, -0.5], [0, 1, 0]])
    assert run(operations.warp, frames, half_right)[0, :, :, 0].tolist() == [[50, 100, 100]] * 2
    quarter_up = np.float32([[1, 0, 0], [0, 1, 0.25]])
    assert run(operations.warp, frames, quarter_up)[0, :, :, 0].tolist() == [[100] * 3, [75] * 3]


def test_warp_far_outside_is_black() -> None:
    assert not run(operations.warp, FRAMES, np.float32([[1, 0, 1e6], [0, 1, -1e6]])).any()
