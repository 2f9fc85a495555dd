"""The random draws of a window's augmentation."""

import math

import jax
import numpy as np
import pytest

from adatad_jax.augmentation.draws import (
    Augmentation,
    Operation,
    draw_augmentation,
    draw_jitter,
    draw_operations,
    source_matrix,
)

HEIGHT, WIDTH = 100, 200


def test_same_generator_same_draw() -> None:
    draws = [draw_augmentation(np.random.default_rng([3, 4]), HEIGHT, WIDTH, True, True) for _ in range(2)]
    jax.tree.map(np.testing.assert_array_equal, *draws)
    assert jax.tree.map(lambda leaf: (leaf.dtype.name, leaf.shape), draws[0]) == Augmentation(
        (("int32", (2,)), ("float32", (2, 2, 3)), ("int32", (4,))),
        (("int32", (4,)), ("float32", (3,)), ("int32", ())),
    )


def test_switched_off_is_none() -> None:
    rng = np.random.default_rng(0)
    assert draw_augmentation(rng, HEIGHT, WIDTH, False, False) == (None, None)
    assert draw_augmentation(rng, HEIGHT, WIDTH, False, True).operations is None
    assert draw_augmentation(rng, HEIGHT, WIDTH, True, False).jitter is None


def test_two_distinct_operations_in_order_all_alike_often() -> None:
    rng = np.random.default_rng(0)
    pairs = np.array([draw_operations(rng, HEIGHT, WIDTH).operations for _ in range(3000)])
    assert (pairs[:, 0] < pairs[:, 1]).all()
    counts = np.bincount(pairs.ravel(), minlength=15)
    # 6000 draws over 15: 400 each, with a standard deviation of sqrt(3000 * 2/15 * 13/15) = 18.6
    assert len(counts) == 15
    assert np.abs(counts - 400).max() < 80
    assert len(np.unique(pairs, axis=0)) == 15 * 14 // 2


def test_matrices_are_of_the_drawn_operations_with_both_signs() -> None:
    rng = np.random.default_rng(1)
    seen = set()
    for _ in range(400):
        draw = draw_operations(rng, HEIGHT, WIDTH)
        for operation, matrix in zip(draw.operations, draw.matrices, strict=True):
            expected = {sign: source_matrix(Operation(operation), sign, HEIGHT, WIDTH) for sign in (-1, 1)}
            signs = [sign for sign, m in expected.items() if np.allclose(m, matrix, atol=1e-4)]
            assert signs
            if operation <= Operation.ROTATE:
                seen.add((int(operation), *signs))
            else:
                np.testing.assert_array_equal(matrix, [[1, 0, 0], [0, 1, 0]])
    assert seen == {(operation, sign) for operation in range(5) for sign in (-1, 1)}


@pytest.mark.parametrize(
    ("operation", "result", "source"),
    [
        # the centre is (99.5, 49.5); tan 15.471 degrees = 0.27677
        (Operation.SHEAR_X, (99.5 + 0.27677 * 10, 59.5), (99.5, 59.5)),
        (Operation.SHEAR_Y, (109.5, 49.5 + 0.27677 * 10), (109.5, 49.5)),
        (Operation.TRANSLATE_X, (46, 20), (10, 20)),  # 0.18 * 200
        (Operation.TRANSLATE_Y, (10, 38), (10, 20)),  # 0.18 * 100
        # what was right of the centre is turned clockwise, so further down
        (Operation.ROTATE, (99.5 + 10 * math.cos(math.pi * 0.15), 49.5 + 10 * math.sin(math.pi * 0.15)), (109.5, 49.5)),
    ],
)
def test_source_matrix(operation: Operation, result: tuple[float, float], source: tuple[float, float]) -> None:
    np.testing.assert_allclose(source_matrix(operation, 1, HEIGHT, WIDTH) @ [*result, 1], source, atol=1e-4)
    # the other sign is the inverse map
    there = source_matrix(operation, -1, HEIGHT, WIDTH) @ [*source, 1]
    np.testing.assert_allclose(there, result, atol=1e-4)


def test_cutout_is_a_square_around_a_uniform_centre() -> None:
    rng = np.random.default_rng(2)
    boxes = np.array([draw_operations(rng, 100, 200).cutout for _ in range(3000)])
    top, left, bottom, right = boxes.T
    assert ((top >= 0) & (top < bottom) & (bottom <= 100) & (left >= 0) & (left < right) & (right <= 200)).all()
    # inside the frame: 18 pixels, one row or column less or more where truncation makes it so (ends are 18 apart)
    inner = (top > 0) & (bottom < 100) & (left > 0) & (right < 200)
    assert set((bottom - top)[inner]) == set((right - left)[inner]) == {18}
    # the smallest part that can be left is that of a centre on the border: 9 pixels
    assert (bottom - top).min() >= 9
    assert (bottom == 100).any()
    assert (top == 0).any()
    assert abs(((top + bottom) / 2)[inner].mean() - 50) < 2
    assert abs(((left + right) / 2)[inner].mean() - 100) < 4


def test_jitter_ranges_and_orders() -> None:
    rng = np.random.default_rng(3)
    draws = [draw_jitter(rng) for _ in range(2000)]
    factors = np.array([draw.factors for draw in draws])
    hues = np.array([draw.hue for draw in draws])
    assert (factors.min(0) >= 0.5).all()
    assert (factors.min(0) < 0.51).all()
    assert (factors.max(0) <= 1.5).all()
    assert (factors.max(0) > 1.49).all()
    np.testing.assert_allclose(factors.mean(0), 1, atol=0.03)
    assert (hues.min(), hues.max()) == (-25, 25)
    assert len({tuple(draw.order) for draw in draws}) == 24
