"""Videos of any timing, resampled to a constant rate."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adatad_jax.data.footage import Footage, array_footage, open_footage
from adatad_jax.errors import UserError
from adatad_jax.video.scan import scan
from adatad_jax.video.steady import steady_frames
from tests.tiny_detector import moving_square, tiny_config, write_video


def numbered(count: int) -> np.ndarray:
    """Makes frames of one colour each, which tells their number."""
    return np.broadcast_to((10 * np.arange(count, dtype=np.uint8))[:, None, None, None], (count, 32, 32, 3)).copy()


def shown(footage: Footage) -> list[int]:
    """Reads a `numbered` video, and returns the numbers of its frames."""
    name = footage.video.name
    count = footage.frames.count(name)
    frames = footage.frames.read(name, np.arange(count), (0, 0, 32, 32), 32)
    return (np.rint(frames[:, 0, 0, 0] / 10)).astype(int).tolist()


@pytest.mark.parametrize("rate", [0.0, 24.0, 25.0, 27.0])
def test_a_steady_video_of_a_like_rate_is_read_as_it_is(rate: float) -> None:
    assert steady_frames(np.arange(51) / 25, 25.0, rate).tolist() == list(range(50))


def test_other_rates() -> None:
    """Half the rate takes every other frame, 2.5 times the rate takes each two or three times, whichever is nearest."""
    clock = np.arange(9) / 10
    assert steady_frames(clock, 10.0, 5.0).tolist() == [0, 2, 4, 6]
    assert steady_frames(clock[:5], 10.0, 25.0).tolist() == [0, 0, 1, 1, 2, 2, 2, 3, 3, 3]
    assert steady_frames(np.array([0, 0.1]), 10.0, 30.0).tolist() == [0, 0, 0]


def test_frames_that_stand_still_are_read_as_often_as_they_show() -> None:
    """Ticks every second; the third frame shows from 2 to 7 s, and the fourth may stand in half a second early."""
    clock = np.array([0.0, 1, 2, 7, 8, 9])
    assert steady_frames(clock, 1.0).tolist() == [0, 1, 2, 2, 2, 2, 2, 3, 4]


@settings(deadline=None)
@given(
    st.lists(st.floats(0.01, 2.0), min_size=1, max_size=30),
    st.floats(1.0, 60.0),
    st.sampled_from([0.0, 5.0, 30.0]),
)
def test_a_tick_takes_the_frame_that_shows_then_or_is_nearest(steps: list[float], fps: float, rate: float) -> None:
    clock = np.concatenate([[0.0], np.cumsum(steps)])
    found = steady_frames(clock, fps, rate)
    if found.tolist() == list(range(len(steps))):
        return
    ticks = np.arange(len(found)) * clock[-1] / len(found)
    half = np.minimum(np.array([*steps, np.inf]), 1 / fps) / 2  # how early the frame after each may stand in
    assert (clock[found] <= ticks + half[found - 1] + 1e-9).all()
    assert ((clock[found + 1] >= ticks + half[found] - 1e-9) | (found == len(steps) - 1)).all()
    assert (np.diff(found) >= 0).all()


def test_a_file_of_changing_rate_is_read_by_its_clock(tmp_path: Path) -> None:
    times = np.array([0, 0.1, 0.2, 0.3, 0.4, 0.5, 1.5, 1.6, 1.7, 1.8])
    write_video(tmp_path / "a.mkv", numbered(10), times)
    footage = open_footage(tmp_path / "a.mkv", tiny_config())
    # A still stretch of 1 s, and else steps of 0.1 s: 10 frames per second for 1.9 s.
    assert (footage.fps, footage.video.duration, footage.video.frames) == pytest.approx((10, 1.9, 19))
    assert shown(footage) == [0, 1, 2, 3, 4, *[5] * 10, 6, 7, 8, 9]


def test_a_rate_that_is_given_stands_in_for_the_file_s(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mkv", numbered(10), np.arange(10) / 10)
    config = tiny_config()
    given_rate = open_footage(tmp_path / "a.mkv", config, fps=20.0)
    assert (given_rate.fps, given_rate.video.duration, given_rate.video.fps) == (20, 0.5, 20)
    assert scan(tmp_path / "a.mkv").clock(20.0).tolist() == [k / 20 for k in range(11)]
    config = config.with_fields({"data.rate": 10.0})
    assert shown(open_footage(tmp_path / "a.mkv", config, fps=20.0)) == [0, 2, 4, 6, 8]
    assert shown(open_footage(tmp_path / "a.mkv", config)) == list(range(10))


def test_an_array_is_read_as_the_file_of_its_frames(tmp_path: Path) -> None:
    frames, config = moving_square(20), tiny_config()
    write_video(tmp_path / "a.mkv", frames, np.arange(20) / 10)
    config = config.with_fields({"data.rate": 30.0})
    one, two = open_footage(tmp_path / "a.mkv", config), array_footage(frames, 10.0, config, "a")
    assert one.video.duration == pytest.approx(two.video.duration)
    assert one.video.frames == two.video.frames == 60
    assert one.frames.size("a") == two.frames.size("a")
    indices, box = np.array([0, 7, 7, 59]), (0, 2, 32, 32)
    np.testing.assert_array_equal(one.frames.read("a", indices, box, 32), two.frames.read("a", indices, box, 32))


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((4, 8, 8, 3), np.float32), r"\bfloat32 \(4, 8, 8, 3\).*\buint8\b"),
        (np.zeros((4, 8, 8), np.uint8), r"\buint8 \(4, 8, 8\).*\[N, H, W, 3\]"),
        (np.zeros((0, 8, 8, 3), np.uint8), r"\(0, 8, 8, 3\).*\bframe\b"),
        ([1, 2], r"\blist\b.*\[N, H, W, 3\]"),
    ],
)
def test_what_are_no_frames_is_refused(frames: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        array_footage(frames, 30.0, tiny_config())


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_is_above_zero(fps: float) -> None:
    with pytest.raises(UserError, match=rf"fps={fps}\b"):
        array_footage(numbered(3), fps, tiny_config())
