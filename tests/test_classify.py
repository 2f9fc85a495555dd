"""`python -m adatad_jax.classify` on a run with random parameters."""

import json
from pathlib import Path

import numpy as np
import pytest

from adatad_jax import classify
from adatad_jax.errors import UserError
from tests.clip_runs import CLASSES, finetuning, make_run
from tests.tiny_detector import moving_square, write_video


def test_probabilities_are_written_into_a_new_folder(tmp_path: Path) -> None:
    make_run(tmp_path / "run", finetuning(), CLASSES)
    video, output = tmp_path / "a.mkv", tmp_path / "new" / "a.json"
    write_video(video, moving_square(20), np.arange(20) / 30)
    views = ["--clips", "1", "--crops", "1", "--batch", "1"]
    classify.main(["--checkpoint", str(tmp_path / "run"), "--json", str(output), *views, str(video)])
    found = json.loads(output.read_text())
    assert set(found) == {str(video)}
    assert set(found[str(video)]) == set(CLASSES)
    assert sum(found[str(video)].values()) == pytest.approx(1, abs=1e-6)


def test_what_cannot_end_well_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for option, value, fact in (
        ("--json", tmp_path, "a folder, expected the name of a file"),
        ("--json", tmp_path / "file" / "a.json", "file is a file, expected a folder"),
        ("--fps", 1e9, "fps=1000000000"),
    ):
        with pytest.raises(UserError, match=fact):
            classify.main(["--checkpoint", str(tmp_path / "none"), option, str(value), "none.mp4"])
