"""Odd files that users of video tools have reported, rebuilt small: each is read on the right clock, and says so.

The files show their own frame numbers to people; their true counts and times are those that they were made with.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest

from adatad_jax.video.decode import open_video
from adatad_jax.video.scan import scan
from adatad_jax.video.steady import open_steady

CASES = Path(__file__).parents[1] / "cases"


@pytest.mark.parametrize(
    ("file", "frames", "fps", "seconds", "told"),
    [
        ("vfr_clean.webm", 320, 319 / 23.9, 23.97, []),
        ("vfr_one_duplicate.webm", 320, 319 / 23.9, 23.97, ["1 of 320", "repeat"]),
        ("drift.mkv", 3000, 29.75, 3000 / 29.75, []),
        ("h264_live_cut.ts", 151, 25, 6.04, ["key frames", "the 1 before"]),
        ("hevc_cut.ts", 201, 25, 8.04, ["key frames", "the 1 before"]),
        ("rtsp_jump_1h.mp4", 300, 25, 12, ["1 of 300", "jumps", "3600.04 s"]),
        ("paff.mp4", 16, 25, 0.64, []),
        ("cat_offset.ts", 300, 25, 12, ["starts anew", "frame 150"]),
        ("cat_same.ts", 300, 25, 12, ["starts anew", "frame 150"]),
        ("screen_gaps.webm", 600, 30, 25.2, ["2 stretches", "5.27 s", "3.03 s after 6.63 s"]),
        ("00001.MTS", 300, 25, 12, []),
        ("thumb_first.mp4", 300, 25, 12, ["2 video tracks", "number 1", "longest"]),
    ],
)
def test_each_case_is_read_on_its_clock(file: str, frames: int, fps: float, seconds: float, told: list[str]) -> None:
    reader, index = open_video(CASES / file), scan(CASES / file)
    assert reader.frame_count == index.count == frames
    assert reader.fps == pytest.approx(fps, rel=1e-3)
    assert index.clock()[-1] == pytest.approx(seconds, abs=0.006)
    assert bool(reader.notes) == bool(told)
    assert all(fact in " ".join(reader.notes) for fact in told)
    # every frame decodes, in order and by itself
    in_order = reader.read(range(0, frames, 9))
    places = np.random.default_rng(0).permutation(len(in_order))[:6]
    for place in places:
        np.testing.assert_array_equal(open_video(CASES / file).read([9 * place])[0], in_order[place])


def test_the_clock_of_a_repeated_stamp_is_that_of_the_same_file_without_it() -> None:
    clean, repeated = (scan(CASES / name).clock() for name in ("vfr_clean.webm", "vfr_one_duplicate.webm"))
    np.testing.assert_allclose(repeated, clean, atol=0.001)  # stamps are whole milliseconds


def test_pictures_of_a_repeated_stamp_are_those_of_the_same_file_without_it() -> None:
    indices = [0, 49, 50, 51, 52, 200, 319]
    clean, repeated = (open_video(CASES / name) for name in ("vfr_clean.webm", "vfr_one_duplicate.webm"))
    np.testing.assert_array_equal(repeated.read(indices), clean.read(indices))


def test_the_first_frame_that_decodes_stands_for_those_before() -> None:
    first, second = open_video(CASES / "h264_live_cut.ts").read([0, 1])
    np.testing.assert_array_equal(first, second)


def test_a_still_frame_stands_in_the_gap_of_a_screen_recording() -> None:
    """At the average rate, every tick from 6.63 s to 9.67 s shows frame 199."""
    steady, own = open_steady(CASES / "screen_gaps.webm"), open_video(CASES / "screen_gaps.webm")
    ticks = [round(second * steady.fps) for second in (6.7, 7.5, 8.1)]
    still = own.read([199])[0]
    assert all(np.array_equal(frame, still) for frame in steady.read(ticks))
    assert not np.array_equal(steady.read([round(9.75 * steady.fps)])[0], still)


def test_three_joined_streams_the_last_with_b_frames(tmp_path: Path) -> None:
    with (tmp_path / "three.ts").open("wb") as joined:
        for name in ("cat_same.ts", "00001.MTS"):
            joined.write((CASES / name).read_bytes())
    index = scan(tmp_path / "three.ts")
    assert (index.count, index.clock()[-1]) == (600, pytest.approx(24, abs=0.1))
    np.testing.assert_allclose(np.diff(index.clock()), 0.04, atol=1e-6)
    own = open_video(CASES / "00001.MTS")
    for place in (0, 1, 2, 150, 299):
        np.testing.assert_array_equal(open_video(tmp_path / "three.ts").read([300 + place]), own.read([place]))


def test_a_camcorder_s_extension_in_capitals_is_a_video_too(tmp_path: Path) -> None:
    shutil.copy(CASES / "00001.MTS", tmp_path / "A.MTS")
    assert open_video(tmp_path / "A.MTS").frame_count == 300
