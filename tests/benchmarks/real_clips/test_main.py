"""The course on clips, from the command line to its tables, on clips made for it."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.real_clips.__main__ import main
from benchmarks.real_clips.footage import GMDCSA, UT
from tests.tiny_detector import moving_square, write_video


def test_without_the_data_it_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--data", str(tmp_path), "--workdir", str(tmp_path / "runs")])
    assert "skipped" in (said := capsys.readouterr().out)
    assert "ut_interaction" in said
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_fold_is_taken_from_clips_to_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two classes, four sequences, and two subjects who fall after a second; then everything is there already."""
    frames = moving_square(60)
    for folder in (UT, GMDCSA):
        (tmp_path / folder).mkdir()
    for index in range(8):
        own = frames if index % 2 else np.ascontiguousarray(frames[::-1])
        clip = tmp_path / UT / f"set1_{index}_{index // 2 + 1}_{6 * (index % 2)}"
        write_video(clip.with_suffix(".mkv"), own, np.arange(60) / 30)
        clip.with_suffix(".mkv").rename(clip.with_suffix(".avi"))
    for subject, videos in ((1, 1), (2, 5)):
        lines = ["File Name,Length (seconds),Classes"]
        for number in range(1, videos + 1):
            write_video(tmp_path / "one.mkv", frames, np.arange(60) / 30)
            (tmp_path / "one.mkv").rename(tmp_path / GMDCSA / f"Subject_{subject}_Fall_{number:02d}.mp4")
            lines.append(f"{number:02d}.mp4,02,Sitting[0 to 0.9]; Falling (SW)[1 to 2]")
        (tmp_path / GMDCSA / f"Subject_{subject}_Fall.csv").write_text("\n".join([*lines, ""]))
    arguments = ["--data", str(tmp_path), "--workdir", str(tmp_path / "runs"), "--quick"]
    main(arguments)
    tables = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert any(line.startswith("| masked pre-training |") for line in tables)
    assert any(line.startswith("| always one class | 50.0 |") for line in tables)
    main(arguments)
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")] == tables
