"""Windows: hand-made examples and properties. tests/parity/test_windows.py compares windows with the release."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adatad_jax.data.annotations import load_annotations, select_subset
from adatad_jax.data.windows import (
    RandomWindow,
    grid_length,
    random_window,
    resize_ground_truth,
    resize_sampling,
    resized_to_seconds,
    sliding_windows,
    to_seconds,
    window_frames,
)
from adatad_jax.errors import UserError
from tests.real_data import real_file


def test_grid_length_counts_a_part_of_a_stride() -> None:
    assert [grid_length(frames, 4) for frames in (1, 4, 5, 3072, 3073)] == [1, 1, 2, 768, 769]


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(1, 800), st.floats(0, 0.9))
def test_sliding_windows_cover_each_position_and_none_repeats(length: int, window: int, overlap: float) -> None:
    if int(window * (1 - overlap)) < 1:
        return
    windows = sliding_windows(length, window, overlap)
    assert windows == sorted(set(windows))
    assert {end - first for first, end in windows} == {min(window, length)}
    assert set().union(*(range(first, end) for first, end in windows)) == set(range(length))


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(1, 800), st.sampled_from([0.25, 0.5]))
def test_release_windows_are_among_ours(length: int, window: int, overlap: float) -> None:
    if int(window * (1 - overlap)) < 1:
        return
    release = sliding_windows(length, window, overlap, release_windows=True)
    assert set(release) <= set(sliding_windows(length, window, overlap))


def test_release_repeats_a_window_and_loses_a_tail() -> None:
    # step 384: 1152 // 384 = 3 starts, the third cut back to 384
    assert sliding_windows(1152, 768, 0.5, release_windows=True) == [(0, 768), (384, 1152), (384, 1152)]
    assert sliding_windows(1152, 768, 0.5) == [(0, 768), (384, 1152)]
    # step 576: 900 // 576 = 1 start, positions 768 to 899 are in no window
    assert sliding_windows(900, 768, 0.25, release_windows=True) == [(0, 768)]
    assert sliding_windows(900, 768, 0.25) == [(0, 768), (132, 900)]


def test_short_video_gives_one_window_at_any_overlap() -> None:
    for overlap in (0, 0.25, 0.5, 0.75):
        for release in (False, True):
            assert sliding_windows(700, 768, overlap, release_windows=release) == [(0, 700)]


@pytest.mark.parametrize(
    ("length", "overlap", "told"),
    [
        (0, 0.5, r"\b0 grid positions"),
        (10, 1.0, r"overlap 1\.0 .*window of 10 positions.*step of 0\b"),
        (10, -0.1, r"overlap -0\.1 .*window of 10 positions.*step of 11\b"),
        (10, 0.95, r"overlap 0\.95 .*window of 10 positions.*step of 0\b"),
    ],
)
def test_impossible_layouts_are_refused(length: int, overlap: float, told: str) -> None:
    with pytest.raises(UserError, match=told):
        sliding_windows(length, 10, overlap)


@pytest.mark.parametrize(
    ("subset", "release", "count"),
    [("validation", True, 792), ("training", True, 720), ("validation", False, 791), ("training", False, 720)],
)
def test_windows_of_thumos(subset: str, release: bool, count: int) -> None:
    path = real_file("annotations/thumos_14_anno.json")
    videos = select_subset(load_annotations(path), subset, path)
    windows = [
        window
        for video in videos.values()
        for window in sliding_windows(grid_length(video.frames, 4), 768, 0.5, release_windows=release)
    ]
    assert len(windows) == count


def test_window_frames_at_the_end_of_the_container() -> None:
    # 19 frames at stride 4, 2 frames per position: 0 2 4 ... 18; positions 3 and 4 are frames 12 14 16 18
    frames, mask = window_frames(3, 6, total_frames=19, stride=4, frames_per_position=2, window=4)
    assert frames.tolist() == [12, 14, 16, 18, 18, 18, 18, 18]
    assert mask.tolist() == [True, True, False, False]
    assert frames.dtype == np.int64


def test_half_a_position_is_not_valid() -> None:
    # 17 frames: position 4 has frame 16 but not 18
    frames, mask = window_frames(3, 6, total_frames=17, stride=4, frames_per_position=2, window=3)
    assert frames.tolist() == [12, 14, 16, 16, 16, 16]
    assert mask.tolist() == [True, False, False]


def test_windows_without_frames_are_refused() -> None:
    with pytest.raises(UserError, match=r"positions 5 to 6\b.*\bframe 20\b.*\bonly 20 frames"):
        window_frames(5, 7, total_frames=20, stride=4, frames_per_position=1, window=2)
    with pytest.raises(ValueError, match=r"positions 0 to 3\b.*\bwindow of 2\b"):
        window_frames(0, 3, total_frames=20, stride=4, frames_per_position=1, window=2)
    with pytest.raises(UserError, match=r"\b3 frames\b.*\bstride of 4\b"):
        window_frames(0, 2, total_frames=20, stride=4, frames_per_position=3, window=2)


def scripted(*values: int) -> Callable[[int, int], int]:
    """Returns a `randint` that gives these values, and the last one again and again."""
    left = list(values)

    def randint(low: int, high: int) -> int:
        value = left.pop(0) if len(left) > 1 else left[0]
        assert low <= value <= high
        return value

    return randint


def draw(
    *segments: tuple[float, float], randint: Callable[[int, int], int], total: int = 400, thresh: float = 0.75
) -> RandomWindow:
    """Draws a window of 20 positions in a video of 400 frames, which are 100 positions."""
    return random_window(
        np.array(segments, np.float32).reshape(-1, 2),
        np.arange(len(segments), dtype=np.int32),
        total_frames=total,
        stride=4,
        frames_per_position=1,
        window=20,
        trunc_thresh=thresh,
        crop_ratio=(0.9, 1.0),
        randint=randint,
    )


def test_random_window_cuts_at_its_end_one_position_after_the_last() -> None:
    # window 30-50: (40, 52) keeps 10 of 12; unlike a sliding window it reaches to 50, not 49
    window = draw((40, 52), randint=scripted(30))
    assert window.segments.tolist() == [[10, 20]]
    assert window.frames.tolist() == list(range(120, 200, 4))
    assert window.mask.all()
    assert window.found


def test_random_window_keeps_exactly_three_quarters() -> None:
    # (35, 55) keeps 15 of 20; (34.5, 55) keeps 15.5 of 20.5 = 0.756; (36, 56) keeps 14 of 20
    window = draw((35, 55), (34.5, 55), (36, 56), randint=scripted(30))
    assert window.labels.tolist() == [0, 1]
    assert window.segments.tolist() == [[5, 20], [4.5, 20]]


@pytest.mark.parametrize("thresh", [0, 0.75])
def test_random_window_drops_segments_without_length(thresh: float) -> None:
    window = draw((40, 40), (41, 45), randint=scripted(30), thresh=thresh)
    assert window.labels.tolist() == [1]


@pytest.mark.parametrize("segments", [(), ((40, 40),), ((90, 95),)])
def test_failed_tries_are_reported(segments: tuple[tuple[float, float], ...]) -> None:
    calls: list[tuple[int, int]] = []

    def randint(low: int, high: int) -> int:
        calls.append((low, high))
        return 30 if len(calls) < 200 else 31

    window = draw(*segments, randint=randint)
    assert not window.found
    assert calls == [(0, 80)] * 200
    assert window.segments.shape == (0, 2)
    assert window.frames[0] == 124  # the last try


def test_short_video_returned_whole_is_untouched() -> None:
    # 10 positions, cropped to 10 of 10: a segment past the end stays as it is, as does one without length
    window = draw((8, 12), (3, 3), randint=scripted(10), total=40)
    assert window.segments.tolist() == [[8, 12], [3, 3]]
    assert window.mask.sum() == 10
    assert window.found


def test_crop_bounds_are_rounded_half_to_even() -> None:
    calls: list[tuple[int, int]] = []

    def randint(low: int, high: int) -> int:
        calls.append((low, high))
        return high

    draw((1, 2), randint=randint, total=5 * 4)  # 0.9 * 5 = 4.5
    draw((1, 2), randint=randint, total=15 * 4)  # 0.9 * 15 = 13.5
    assert calls == [(4, 5), (14, 15)]


def test_random_window_of_a_numpy_generator_stays_inside() -> None:
    rng = np.random.default_rng(0)
    starts = set()
    for _ in range(300):
        window = draw((0, 100), (96, 99), randint=lambda low, high: int(rng.integers(low, high, endpoint=True)))
        assert window.frames.max() <= 396
        starts.add(int(window.frames[0]))
    assert {start % 4 for start in starts} == {0}


def test_random_window_needs_frames() -> None:
    with pytest.raises(UserError, match=r"\b0 frames"):
        draw((1, 2), randint=scripted(0), total=0)


def test_resize_takes_centres() -> None:
    # 10 frames to 5 positions: centres 0.5, 2.5, 4.5, 6.5, 8.5 round half to even
    frames, mask = resize_sampling(total_frames=10, positions=5, frames_per_position=1)
    assert frames.tolist() == [0, 2, 4, 6, 8]
    assert mask.all()


def test_resize_repeats_frames_of_a_short_video() -> None:
    # 2 frames to 4: centres -0.25, 0.25, 0.75, 1.25, clipped to [0, 1]
    assert resize_sampling(total_frames=2, positions=2, frames_per_position=2)[0].tolist() == [0, 0, 1, 1]


@settings(deadline=None)
@given(st.integers(1, 5000), st.integers(1, 400), st.sampled_from([1, 2, 4]))
def test_resize_always_gives_the_asked_number(total: int, positions: int, s: int) -> None:
    frames, mask = resize_sampling(total_frames=total, positions=positions, frames_per_position=s)
    assert frames.shape == (positions * s,)
    assert mask.shape == (positions,)
    assert frames[0] >= 0
    assert frames[-1] <= total - 1
    assert (np.diff(frames) >= 0).all()


def test_resize_length_where_arange_gives_one_too_many() -> None:
    cases = [(total, n) for n in (128, 160, 192) for total in range(1, 3000) if too_many(total, n)]
    assert cases, "no such length: the test has lost its subject"
    for total, n in cases[:20]:
        assert len(resize_sampling(total_frames=total, positions=n, frames_per_position=1)[0]) == n


def too_many(total: int, count: int) -> bool:
    """Returns whether `np.arange` gives one centre too many."""
    step = total / count
    return len(np.arange(step / 2 - 0.5, total + step / 2 - 0.5, step)) > count


def test_resize_needs_frames() -> None:
    with pytest.raises(UserError, match=r"\b0 frames"):
        resize_sampling(total_frames=0, positions=5, frames_per_position=1)


def test_resize_ground_truth_is_cut_to_the_video() -> None:
    segments = resize_ground_truth(np.array([[1, 4], [-1, 20]], np.float32), duration=8.0, positions=64)
    assert segments.tolist() == [[8, 32], [0, 64]]
    assert segments.dtype == np.float32


def test_to_seconds() -> None:
    # (10 * 4 + 32) / 25 = 2.88; 100 * 4 + 32 = 432 frames lie after the 15 s
    segments = np.array([[10, 100], [-20, 0]], np.float32)
    seconds = to_seconds(segments, stride=4, window_start_frame=32, fps=25.0, duration=15.0)
    np.testing.assert_array_equal(seconds, np.array([[2.88, 15], [0, 1.28]], np.float32))
    assert seconds.dtype == np.float32
    scalars: Any = {
        "stride": np.int64(4),
        "window_start_frame": np.int64(30),
        "fps": np.float64(25),
        "duration": np.float64(15),
    }
    assert to_seconds(segments, **scalars).dtype == np.float32
    assert not np.signbit(to_seconds(segments - 10, stride=4, window_start_frame=0, fps=25.0, duration=15.0)).any()


def test_resized_to_seconds() -> None:
    # 48 of 192 positions are a quarter of 30 s
    seconds = resized_to_seconds(np.array([[48, 300]], np.float32), positions=192, duration=30.0)
    np.testing.assert_array_equal(seconds, [[7.5, 30]])
