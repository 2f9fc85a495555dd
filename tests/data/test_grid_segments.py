"""Conversion of segments in seconds to frames, grid positions and class indices."""

import numpy as np
import pytest

from adatad_jax.data.annotations import Video
from adatad_jax.data.grid_segments import ground_truth_in_frames, ground_truth_in_seconds, ground_truth_on_grid
from adatad_jax.errors import UserError


def video_of(
    *labelled: tuple[float, float, str], duration: float = 10.0, frames: int = 300, fixed_fps: float | None = None
) -> Video:
    segments = np.array([entry[:2] for entry in labelled], np.float64).reshape(-1, 2)
    return Video("v", "s", duration, frames, segments, tuple(entry[2] for entry in labelled), fixed_fps)


def test_seconds_become_whole_frames_by_share_of_the_duration() -> None:
    # 66.67 s, 2000 frames: 7.83 / 66.67 * 2000 = 234.888, 15.7 / 66.67 * 2000 = 470.976
    segments, labels = ground_truth_in_frames(video_of((7.83, 15.7, "b"), duration=66.67, frames=2000), ["a", "b"])
    assert segments.tolist() == [[234, 470]]
    assert segments.dtype == np.float32
    assert labels.tolist() == [1]


def test_order_of_the_operations() -> None:
    # 0.7 / 7 * 10 = 0.09999999999999999 * 10 = 0.9999999999999999 in float64, frame 0; 0.7 * 10 / 7 would be frame 1
    segments, _ = ground_truth_in_frames(video_of((0.7, 7.0, "a"), duration=7.0, frames=10), ["a"])
    assert segments.tolist() == [[0, 10]]


def test_fixed_rate_ignores_the_duration() -> None:
    video = video_of((4.99, 9.0, "a"), duration=10.09, frames=300, fixed_fps=30)
    # int(4.99 * 30) = int(149.7), int(9 * 30) = 270; by share of the duration int(148.4) and int(267.6)
    assert ground_truth_in_frames(video, ["a"])[0].tolist() == [[149, 270]]


def test_duplicates_are_dropped_the_first_kept() -> None:
    # 30 frames per second: 1.00 and 1.01 are both frame 30, so entries 0 and 2 are equal in frames
    video = video_of((1.0, 2.0, "a"), (1.0, 2.0, "b"), (1.01, 2.01, "a"), (0.0, 1.0, "a"))
    segments, labels = ground_truth_in_frames(video, ["a", "b"])
    assert segments.tolist() == [[30, 60], [30, 60], [0, 30]]
    assert labels.tolist() == [0, 1, 0]


def test_filter_drops_what_ends_in_the_frame_it_starts_in() -> None:
    video = video_of((1.0, 1.01, "a"), (1.0, 1.04, "a"))  # frames 30-30 and 30-31
    assert ground_truth_in_frames(video, ["a"])[0].tolist() == [[30, 30], [30, 31]]
    assert ground_truth_in_frames(video, ["a"], filter_gt=True)[0].tolist() == [[30, 31]]


def test_ignored_and_unknown_labels() -> None:
    video = video_of((0, 1, "a"), (0, 5, "Ambiguous"))
    assert ground_truth_in_frames(video, ["a"], ["Ambiguous"])[1].tolist() == [0]
    with pytest.raises(UserError, match=r'video "v": label "Ambiguous".*\b1 classes'):
        ground_truth_in_frames(video, ["a"])


def test_ignored_label_of_the_class_list_is_still_skipped() -> None:
    assert ground_truth_in_frames(video_of((0, 1, "a"), (0, 5, "b")), ["a", "b"], ["a"])[1].tolist() == [1]


def test_nothing_left_gives_empty_arrays() -> None:
    segments, labels = ground_truth_in_frames(video_of((0, 5, "Ambiguous")), ["a"], ["Ambiguous"])
    assert segments.shape == (0, 2)
    assert labels.shape == (0,)


def test_grid_positions() -> None:
    # frames 30 and 75 with 8 frames per position: 30 / 8 = 3.75, 75 / 8 = 9.375
    segments, _ = ground_truth_on_grid(video_of((1.0, 2.5, "a")), ["a"], (), 8)
    assert segments.tolist() == [[3.75, 9.375]]
    assert segments.dtype == np.float32


def test_seconds_stay_seconds_and_one_percent_is_too_short() -> None:
    video = video_of((0.25, 0.35, "a"), (0.25, 0.5, "b"), (0.25, 0.5, "b"), duration=16.0)
    # 1% of 16 s is 0.16 s: the first is shorter, the last repeats the second
    segments, labels = ground_truth_in_seconds(video, ["a", "b"])
    assert segments.tolist() == [[0.25, 0.5]]
    assert labels.tolist() == [1]
    assert len(ground_truth_in_seconds(video, ["a", "b"], filter_gt=False)[0]) == 2


def test_exactly_one_percent_is_dropped() -> None:
    assert len(ground_truth_in_seconds(video_of((0.0, 1.0, "a"), duration=100.0), ["a"])[0]) == 0
    assert len(ground_truth_in_seconds(video_of((0.0, 1.01, "a"), duration=100.0), ["a"])[0]) == 1


def test_frames_need_a_frame_count() -> None:
    with pytest.raises(UserError, match=r'video "v": .*\bframe count\b.*"frame" or "fps"'):
        ground_truth_in_frames(video_of((0, 1, "a"), frames=0), ["a"])
    assert len(ground_truth_in_seconds(video_of((0, 1, "a"), frames=0), ["a"])[0]) == 1
