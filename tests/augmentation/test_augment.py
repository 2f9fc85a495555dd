"""The augmentation of a batch: which operations run, on which window, and that all frames share the draw."""

import re

import jax
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from adatad_jax.augmentation.augment import augment
from adatad_jax.augmentation.draws import (
    Augmentation,
    JitterDraw,
    JitterStep,
    Operation,
    OperationsDraw,
    draw_augmentation,
    source_matrix,
)

SIDE = 24
FRAMES = np.random.default_rng(0).integers(0, 256, (2, 6, SIDE, SIDE, 3), np.uint8)
JITTER_OFF = JitterDraw(np.int32([0, 1, 2, 3]), np.float32([1, 1, 1]), np.int32(0))

run = jax.jit(augment)


def chosen(first: Operation, second: Operation) -> Augmentation:
    matrices = np.float32([source_matrix(operation, 1, SIDE, SIDE) for operation in (first, second)])
    return Augmentation(OperationsDraw(np.int32([first, second]), matrices, np.int32([2, 3, 6, 7])), None)


def stack(*draws: Augmentation) -> Augmentation:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *draws)


def drawn(*seeds: int) -> Augmentation:
    return stack(*(draw_augmentation(np.random.default_rng(seed), SIDE, SIDE, True, True) for seed in seeds))


def test_each_window_gets_its_operations_in_order() -> None:
    draws = stack(
        chosen(Operation.POSTERIZE, Operation.BRIGHTNESS),
        chosen(Operation.INVERT, Operation.CUTOUT),
    )
    augmented = np.asarray(run(FRAMES, draws))
    assert augmented.dtype == np.uint8
    bright = [ImageEnhance.Brightness(Image.fromarray(frame & 0xE0)).enhance(1.72) for frame in FRAMES[0]]
    np.testing.assert_array_equal(augmented[0], np.stack([np.asarray(frame) for frame in bright]))
    inverted = 255 - FRAMES[1]
    inverted[:, 2:6, 3:7] = 128
    np.testing.assert_array_equal(augmented[1], inverted)


PIL_OPERATIONS = {
    Operation.POSTERIZE: lambda image: ImageOps.posterize(image, 3),
    Operation.SOLARIZE: lambda image: ImageOps.solarize(image, 230),
    Operation.COLOR: lambda image: ImageEnhance.Color(image).enhance(1.72),
    Operation.CONTRAST: lambda image: ImageEnhance.Contrast(image).enhance(1.72),
    Operation.BRIGHTNESS: lambda image: ImageEnhance.Brightness(image).enhance(1.72),
    Operation.SHARPNESS: lambda image: ImageEnhance.Sharpness(image).enhance(1.72),
    Operation.AUTOCONTRAST: ImageOps.autocontrast,
    Operation.EQUALIZE: ImageOps.equalize,
    Operation.INVERT: ImageOps.invert,
}


@pytest.mark.parametrize("operation", list(Operation)[: Operation.ROTATE + 1])
def test_geometric_numbers_warp_by_their_slots_matrix(operation: Operation) -> None:
    # before an inversion, so that the slot counts: black outside becomes white
    frames = np.full((1, 2, SIDE, SIDE, 3), 100, np.uint8)
    augmented = np.asarray(run(frames, stack(chosen(operation, Operation.INVERT))))
    assert (augmented[:, :, SIDE // 2, SIDE // 2] == 155).all()
    outside = {
        Operation.SHEAR_X: (SIDE - 1, 0),  # the lower half goes right
        Operation.SHEAR_Y: (0, SIDE - 1),  # the right half goes down
        Operation.TRANSLATE_X: (SIDE // 2, 0),
        Operation.TRANSLATE_Y: (0, SIDE // 2),
        Operation.ROTATE: (0, 0),
    }[operation]
    assert (augmented[:, :, outside[0], outside[1]] == 255).all()


@pytest.mark.parametrize("operation", list(PIL_OPERATIONS))
def test_numbers_mean_their_operations(operation: Operation) -> None:
    # the other one, a cutout of nothing, changes no pixel
    draw = chosen(operation, Operation.CUTOUT)
    assert draw.operations is not None
    draw = draw._replace(operations=draw.operations._replace(cutout=np.zeros(4, np.int32)))
    frames = FRAMES[:1].copy()
    frames[..., :2, :2, :] = [[[0] * 3, [255] * 3]] * 2  # the full range, where PIL's autocontrast and ours agree
    expected = np.stack([np.asarray(PIL_OPERATIONS[operation](Image.fromarray(frame))) for frame in frames[0]])
    np.testing.assert_array_equal(run(frames, stack(draw))[0], expected)


def test_jitter_is_not_clipped_in_between() -> None:
    # brightness 1.5 then contrast 0.5 against the reverse, on a grey frame with levels 0 and 240: mean 120 * 0.9999
    frames = np.zeros((2, 1, 2, 2, 3), np.uint8)
    frames[:, :, 0] = 240
    orders = (
        [JitterStep.BRIGHTNESS, JitterStep.CONTRAST, JitterStep.SATURATION],
        [JitterStep.SATURATION, JitterStep.CONTRAST, JitterStep.BRIGHTNESS],
    )
    draws = [
        Augmentation(None, JitterDraw(np.int32([JitterStep.HUE, *order]), np.float32([1.5, 0.5, 1]), np.int32(0)))
        for order in orders
    ]
    ours = np.asarray(run(frames, stack(*draws)))[:, 0, :, 0, 0]
    # 360 and 0 with mean 179.98: 269.99, clipped, and 89.99; clipping early would give 255 -> 191
    # 180 and 60 less 0.006, times 1.5: 269.99, clipped, and 89.99
    assert ours.tolist() == [[255, 89], [255, 89]]


def test_jitter_takes_the_drawn_order_and_hue_clips_what_came_before() -> None:
    # brightness 1.5 then hue clips 240 to 255, so that contrast 0.5 gives 127 + mean / 2; hue first does not
    frames = np.zeros((2, 1, 2, 2, 3), np.uint8)
    frames[:, :, 0] = 240
    clipped = [JitterStep.BRIGHTNESS, JitterStep.HUE, JitterStep.CONTRAST, JitterStep.SATURATION]
    free = [JitterStep.HUE, JitterStep.BRIGHTNESS, JitterStep.SATURATION, JitterStep.CONTRAST]
    draws = [
        Augmentation(None, JitterDraw(np.int32(order), np.float32([1.5, 0.5, 1]), np.int32(0)))
        for order in (clipped, free)
    ]
    ours = np.asarray(run(frames, stack(*draws)))[:, 0, :, 0, 0]
    # 127.5 + 127.4936 / 2 = 191.24 and 63.74; 180 + 179.98 / 2 = 269.99 and 89.99
    assert ours.tolist() == [[191, 63], [255, 89]]


def test_neutral_jitter_changes_little() -> None:
    # RGB to HSV and back rounds by a few levels
    ours = np.asarray(run(FRAMES[:1], stack(Augmentation(None, JITTER_OFF)))).astype(int)
    assert np.abs(ours - FRAMES[:1]).max() <= 6


def test_frames_of_a_window_share_one_draw() -> None:
    # equal frames stay equal, whatever is drawn, in more than one group of frames
    window = np.broadcast_to(FRAMES[0, :1], (2, 40, SIDE, SIDE, 3))
    for seed in range(8):
        augmented = np.asarray(run(window, drawn(seed, seed + 100)))
        assert (augmented == augmented[:, :1]).all()


def test_a_frame_depends_on_no_other() -> None:
    draws = drawn(5, 6)
    changed = FRAMES.copy()
    changed[:, 3] = 7
    ours, others = np.asarray(run(FRAMES, draws)), np.asarray(run(changed, draws))
    kept = [0, 1, 2, 4, 5]
    np.testing.assert_array_equal(ours[:, kept], others[:, kept])


def test_a_window_depends_on_no_other() -> None:
    both, alone = run(FRAMES, drawn(3, 4)), run(FRAMES[1:], drawn(4))
    np.testing.assert_array_equal(both[1], alone[0])


def test_a_share_of_a_window_is_augmented_as_the_whole() -> None:
    windows = np.random.default_rng(1).integers(0, 256, (1, 48, SIDE, SIDE, 3), dtype=np.uint8)
    for seed in range(8):
        whole = run(windows, drawn(seed))
        parts = [run(windows[:, start : start + 16], drawn(seed)) for start in range(0, 48, 16)]
        np.testing.assert_array_equal(np.concatenate(parts, 1), whole)


def test_devices_agree() -> None:
    draws = drawn(7, 8)
    split = jax.tree.map(lambda leaf: leaf[:, None], (FRAMES, draws))
    mapped = jax.pmap(augment)(*split)
    np.testing.assert_array_equal(np.asarray(mapped)[:, 0], run(FRAMES, draws))


def test_switched_off_is_the_identity_and_compiles_to_nothing() -> None:
    off = Augmentation(None, None)
    assert augment(FRAMES, off) is FRAMES
    assert not jax.make_jaxpr(augment)(FRAMES, off).eqns


@pytest.mark.parametrize("frames", [FRAMES.astype(np.float32), FRAMES[0], FRAMES[..., :1]])
def test_refuses_other_frames(frames: np.ndarray) -> None:
    found = re.escape(f"{frames.dtype}{list(frames.shape)}")
    with pytest.raises(ValueError, match=rf"{found}.*uint8\[B, T, H, W, 3\]"):
        augment(frames, drawn(0, 1))


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_lowers_for_accelerators(platform: str) -> None:
    assert run.trace(FRAMES, drawn(0, 1)).lower(lowering_platforms=(platform,)).as_text()
