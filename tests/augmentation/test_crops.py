"""The multi-scale crop: its pairs of sides, its places, and the target size."""

from collections import Counter

import numpy as np

from adatad_jax.augmentation.crops import draw_multi_scale_crop


def boxes(height: int, width: int, size: int, count: int = 4000) -> Counter[tuple[int, int, int, int]]:
    rng = np.random.default_rng(0)
    return Counter(draw_multi_scale_crop(rng, height, width, size) for _ in range(count))


def test_ten_pairs_of_sides_equally_often() -> None:
    found: Counter[tuple[int, int]] = Counter()
    for (_, _, height, width), times in boxes(240, 320, 160).items():
        found[height, width] += times
    # 240 times 1, 0.875, 0.75 and 0.66, truncated; 158 is less than 3 off 160
    sides = [240, 210, 180, 160]
    assert set(found) == {(a, b) for i, a in enumerate(sides) for j, b in enumerate(sides) if abs(i - j) <= 1}
    assert len(found) == 10
    assert max(abs(times - 400) for times in found.values()) < 5 * 19  # standard deviation 19


def test_thirteen_places() -> None:
    found = {(top, left): times for (top, left, *sides), times in boxes(240, 320, 160).items() if sides == [160, 160]}
    # quarters of the room: 80 // 4 rows, 160 // 4 columns
    corners = {(0, 0), (0, 160), (80, 0), (80, 160)}
    middles = {(40, 80), (40, 0), (40, 160), (80, 80), (0, 80)}
    quarters = {(20, 40), (20, 120), (60, 40), (60, 120)}
    assert set(found) == corners | middles | quarters


def test_every_box_lies_in_its_frame() -> None:
    """Also where the short side is just below the target size, to which it must then not be set."""
    for height, width in ((223, 300), (300, 223), (17, 16), (224, 224)):
        for top, left, box_height, box_width in boxes(height, width, 224, 500):
            assert 0 <= top <= top + box_height <= height
            assert 0 <= left <= left + box_width <= width
            assert min(box_height, box_width) > 0


def test_same_generator_same_box() -> None:
    one, other = (draw_multi_scale_crop(np.random.default_rng([3, 4]), 240, 320, 224) for _ in range(2))
    assert one == other
    assert all(type(value) is int for value in one)
