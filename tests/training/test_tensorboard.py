"""TensorBoard's files: restarts, pictures, and disks that are full."""

import logging
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from adatad_jax.training import tensorboard
from adatad_jax.training.tensorboard import TENSORBOARD_FOLDER, TensorBoard
from tests.event_files import shown

ROOT = Path(__file__).parents[2]


def test_a_restart_drops_the_steps_that_are_taken_again(tmp_path: Path) -> None:
    killed = TensorBoard(tmp_path, 0)
    for step in range(1, 7):
        killed.scalars(step, {"loss": step, "rate": 10 * step})
    board = TensorBoard(tmp_path, 4)
    board.scalars(5, {"loss": 50})
    board.close()
    found = shown(tmp_path / TENSORBOARD_FOLDER)
    assert found.scalars["loss"] == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 50)]
    assert [step for step, _ in found.scalars["rate"]] == [1, 2, 3, 4]
    killed.close()


def test_torch_is_not_imported_where_it_is_installed() -> None:
    code = "import sys, adatad_jax.training.tensorboard; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"


def test_pictures_and_texts(tmp_path: Path) -> None:
    Image.new("RGB", (5, 3), (1, 2, 3)).save(tmp_path / "a.png")
    board = TensorBoard(tmp_path, 8)
    board.text("config", "    a = 1")
    board.pictures(9, {"samples/1": tmp_path / "a.png"})
    board.close()
    found = shown(tmp_path / TENSORBOARD_FOLDER)
    assert found.texts == {"config": [(8, "    a = 1")]}
    assert found.pictures == {"samples/1": [(9, (tmp_path / "a.png").read_bytes())]}


def test_a_full_disk_never_stops_a_run_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorboard, "RETRY_AFTER", 0.0)
    board = TensorBoard(tmp_path, 0)
    board.scalars(1, {"loss": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with caplog.at_level(logging.WARNING):
        resource.setrlimit(resource.RLIMIT_FSIZE, (256, before[1]))  # a write beyond it fails, like one to a full disk
        try:
            for step in range(2, 40):
                board.scalars(step, {"a name that fills the disk " * 9: step})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(caplog.records) == 1
    assert str(tmp_path / TENSORBOARD_FOLDER) in caplog.text
    board.scalars(40, {"loss": 40})
    board.close()
    assert shown(tmp_path / TENSORBOARD_FOLDER).scalars == {"loss": [(1, 1), (40, 40)]}
