"""Source frames of clips: drawn from all that fit, or spread over a video."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adatad_jax.data.clip_sampling import clip_span, draw_clip, fitting_stride, spread_clips


@pytest.mark.parametrize(
    ("frames", "stride", "expected"),
    [(61, 4, 4), (60, 4, 3), (46, 4, 3), (45, 4, 2), (16, 4, 1), (30, 1, 1), (1000, 8, 8)],
)
def test_a_short_video_has_the_largest_stride_that_fits(frames: int, stride: int, expected: int) -> None:
    """A clip at stride 4 takes 61 frames, from its first to its last."""
    assert fitting_stride(frames, stride) == expected


@given(st.integers(16, 400), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_a_drawn_clip_lies_in_its_video(frames: int, stride: int, seed: int) -> None:
    clip = draw_clip(np.random.default_rng(seed), frames, stride)
    assert clip.shape == (16,)
    assert clip.dtype == np.int64
    assert clip[0] >= 0
    assert clip[-1] < frames
    (step,) = set(np.diff(clip).tolist())
    assert step == min(stride, (frames - 1) // 15)


def test_every_start_that_fits_is_drawn_alike() -> None:
    """Of 64 frames, a clip at stride 4 (61 frames) may start at four."""
    rng = np.random.default_rng(0)
    starts = Counter(int(draw_clip(rng, 64, 4)[0]) for _ in range(4000))
    assert set(starts) == {0, 1, 2, 3}
    assert all(abs(count - 1000) < 150 for count in starts.values())  # five standard deviations


def test_clips_are_spread_from_the_start_to_the_end() -> None:
    """Of 75 frames, clips at stride 4 may start at 0 to 14."""
    assert clip_span(4) == 61
    assert spread_clips(75, 4, 5)[:, 0].tolist() == [0, 3, 7, 10, 14]
    assert spread_clips(75, 4, 1)[:, 0].tolist() == [7]
    assert spread_clips(75, 4, 2)[:, -1].tolist() == [60, 74]
    assert spread_clips(16, 4, 3).tolist() == [list(range(16))] * 3
