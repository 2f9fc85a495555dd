"""A whole training on an object store, in memory, and on another machine."""

import shutil
from pathlib import Path

import fsspec
import numpy as np
import pytest

from adatad_jax import load, train
from adatad_jax.weights.object_store import scratch_folder
from tests.pipelines.small_runs import EPOCHS, config_file, make_data, small_config

ADDRESS = "memory://bucket/run"


@pytest.mark.slow
def test_a_training_goes_on_at_an_address_and_its_detector_is_loaded_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ADATAD_SCRATCH", str(tmp_path / "scratch"))
    make_data(tmp_path)
    config = config_file(tmp_path, small_config(tmp_path).with_fields({"train.checkpoint_every": 1}))
    command = ["--config", str(config), "--workdir", ADDRESS]
    train.main([*command, "--config.train.epochs=2"])
    shutil.rmtree(scratch_folder(ADDRESS))
    capsys.readouterr()
    train.main(command)
    assert "epoch 2" in capsys.readouterr().out  # where it goes on
    shutil.rmtree(scratch_folder(ADDRESS))
    detector = load(ADDRESS)
    assert f"epoch {EPOCHS}" in detector.origin
    assert isinstance(detector(np.zeros((80, 48, 64, 3), np.uint8), 30), list)
    fsspec.filesystem("memory").store.clear()
