"""The picture: what is drawn, lanes, and videos of one colour or without a detection."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from adatad_jax.evaluation.detections import Detections
from adatad_jax.timeline import LANES, MOST, assign_lanes, draw_timeline, shown


def detections(scores: list[float]) -> Detections:
    count = len(scores)
    starts = np.arange(count, dtype=float)
    return Detections(np.stack([starts, starts + 0.5], 1), np.array(scores), np.zeros(count, int))


def test_best_detections_are_shown_and_at_least_one() -> None:
    np.testing.assert_array_equal(shown(detections([0.05, 0.9, 0.2])), [1, 2])
    np.testing.assert_array_equal(shown(detections([0.01, 0.05])), [1])
    assert len(shown(detections([0.5] * 100))) == MOST
    assert not len(shown(detections([])))


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 10)), max_size=20))
def test_no_two_segments_of_a_lane_overlap(spans: list[tuple[int, int]]) -> None:
    segments = np.array([(start, start + length) for start, length in spans], float).reshape(-1, 2)
    lanes = assign_lanes(segments)
    for lane in range(LANES):
        mine = segments[[i for i, own in enumerate(lanes) if own == lane]]
        mine = mine[np.argsort(mine[:, 0])]
        assert (mine[1:, 0] >= mine[:-1, 1]).all()
    assert not lanes or lanes[0] == 0


def test_picture_is_written_without_any_detection(tmp_path: Path) -> None:
    images = [np.zeros((10, 16, 3), np.uint8)] * 3
    for name, found in (("none", detections([])), ("some", detections([0.9, 0.3]))):
        draw_timeline(tmp_path / f"{name}.png", found, ["a"], 5.0, images, "title")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
