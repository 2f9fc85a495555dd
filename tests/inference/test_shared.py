"""Shares of videos, and detections as bytes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from adatad_jax.inference.shared import packed, share_videos, unpacked
from adatad_jax.postprocessing.detections import Detections


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 8))
def test_every_video_has_one_part_and_the_parts_are_even(windows: list[int], parts: int) -> None:
    counts = {f"v{number}": count for number, count in enumerate(windows)}
    shares = share_videos(counts, parts)
    assert len(shares) == parts
    assert sorted(name for share in shares for name in share) == sorted(counts)
    assert all(share == [name for name in counts if name in share] for share in shares)  # in their order
    loads = [sum(counts[name] for name in share) for share in shares]
    assert max(loads) - min(loads) <= max(windows, default=0)


def test_detections_come_back_bit_by_bit() -> None:
    rng = np.random.default_rng(0)
    found = {
        "é/1": Detections(rng.random((5, 2)), rng.random(5), rng.integers(0, 9, 5)),
        "none": Detections(np.zeros((0, 2)), np.zeros(0), np.zeros(0, np.int64)),
    }
    again = unpacked(packed(found))
    assert list(again) == list(found)
    for name, one in found.items():
        for field in ("segments", "scores", "labels"):
            np.testing.assert_array_equal(getattr(again[name], field), getattr(one, field))
    assert unpacked(packed({})) == {}
