"""Clips that are written again: their rate and size no longer tell where they come from."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from adatad_jax.errors import UserError
from adatad_jax.video.steady import open_steady
from benchmarks.real_clips.footage import GMDCSA, UT, Clip, find_clips, missing, scaled, write_again, write_all
from tests.tiny_detector import write_video


def brightening(seconds: float, fps: int, height: int, width: int) -> np.ndarray:
    """Frames `[N, H, W, 3]` whose brightness is 40 a second."""
    levels = 40 * np.arange(round(seconds * fps)) / fps
    return np.broadcast_to(levels.round().astype(np.uint8)[:, None, None, None], (len(levels), height, width, 3)).copy()


@pytest.mark.parametrize(("fps", "height", "width"), [(30, 150, 200), (20, 240, 180)])
def test_rate_and_size_are_the_same_whatever_they_were(fps: int, height: int, width: int, tmp_path: Path) -> None:
    frames = brightening(3, fps, height, width)
    write_video(tmp_path / "in.mkv", frames, np.arange(len(frames)) / fps)
    write_again(tmp_path / "in.mkv", tmp_path / "out.mkv", square=True)
    reader = open_steady(tmp_path / "out.mkv")
    assert (reader.frame_count, reader.fps, reader.size) == (30, pytest.approx(10), (128, 128))
    shown = reader.read(np.arange(30)).mean((1, 2, 3))
    np.testing.assert_allclose(shown, 4 * np.arange(30), atol=1)  # 40 a second at 10 frames a second


def test_the_central_square_is_kept_or_the_whole_frame() -> None:
    frame = np.zeros((256, 512, 3), np.uint8)
    frame[:, 128:384] = 200
    assert scaled(frame, square=True).shape == (128, 128, 3)
    assert (scaled(frame, square=True) == 200).all()
    assert scaled(frame, square=False).shape == (128, 256, 3)


def test_names_tell_sequence_and_class_or_subject(tmp_path: Path) -> None:
    for folder, name in ((UT, "set2_17_13_5.avi"), (GMDCSA, "Subject_3_Fall_16.mp4")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
    assert missing(tmp_path) == ""
    ours, theirs = find_clips(tmp_path, Path("out"))
    assert ours == Clip(tmp_path / UT / "set2_17_13_5.avi", Path("out") / UT / "set2_17_13_5.mkv", 13, "push")
    assert (theirs.group, theirs.label) == (3, "")
    (tmp_path / UT / "clip.avi").touch()
    with pytest.raises(UserError, match=r"clip\.avi: .*setN_INDEX_SEQUENCE_CLASS"):
        find_clips(tmp_path, Path("out"))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    assert "ut_interaction and no folder gmdcsa24" in missing(tmp_path)


def test_clips_that_are_there_are_not_written_again(tmp_path: Path) -> None:
    (tmp_path / "out.mkv").touch()
    write_all([Clip(tmp_path / "gone.avi", tmp_path / "out.mkv", 1, "hug")], Console(file=io.StringIO()))
    assert (tmp_path / "out.mkv").stat().st_size == 0
