"""A run's folder: what continues it, and what must not."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from adatad_jax.config import default
from adatad_jax.conversion.store import load_backbone, save_backbone
from adatad_jax.errors import UserError
from adatad_jax.train import read_history, write_history
from adatad_jax.training import checkpoints

CLASSES = ("jump", "run")


@pytest.fixture
def config() -> ConfigDict:
    return default()


def test_a_run_is_continued_by_the_same_configuration_and_classes(tmp_path: Path, config: ConfigDict) -> None:
    checkpoints.write_config(tmp_path, config, CLASSES)
    fields, classes = checkpoints.read_config(tmp_path)
    assert classes == CLASSES
    assert fields["data.window"] == 768
    config.train.epochs, config.data.threads, config.test.sigma = 70, 3, 0.5  # nothing that was learned depends on them
    checkpoints.check_config(tmp_path, config, CLASSES)


def test_classes_in_another_order_are_refused(tmp_path: Path, config: ConfigDict) -> None:
    checkpoints.write_config(tmp_path, config, CLASSES)
    with pytest.raises(UserError, match="jump, run, in this order; the class list is now run, jump"):
        checkpoints.check_config(tmp_path, config, CLASSES[::-1])


def test_every_other_field_that_differs_is_listed(tmp_path: Path, config: ConfigDict) -> None:
    checkpoints.write_config(tmp_path, config, CLASSES)
    config.seed, config.model.width = 1, 256
    with pytest.raises(UserError) as caught:
        checkpoints.check_config(tmp_path, config, CLASSES)
    assert "model.width: the run has 512, the configuration now 256" in str(caught.value)
    assert "seed: the run has 0, the configuration now 1" in str(caught.value)


def test_checkpoints_without_a_configuration_are_refused(tmp_path: Path, config: ConfigDict) -> None:
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(UserError, match="not as a run leaves it"):
        checkpoints.check_config(tmp_path, config)
    (tmp_path / "checkpoints").rmdir()
    (tmp_path / "checkpoints").touch()
    with pytest.raises(UserError, match="not as a run leaves it"):
        checkpoints.check_config(tmp_path, config)


@pytest.mark.parametrize("content", ["", "{}", '{"config": 3}', "[1]"])
def test_damaged_configuration_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"config\.json: damaged"):
        checkpoints.read_config(tmp_path)


def test_one_training_a_folder(tmp_path: Path) -> None:
    held = checkpoints.lock(tmp_path)
    with pytest.raises(UserError, match="another training is running"):
        checkpoints.lock(tmp_path)
    held.close()
    checkpoints.lock(tmp_path).close()


@pytest.mark.parametrize("loss", ["params", "params/_METADATA", "conversion.json"])
def test_damaged_converted_weights_are_named(tmp_path: Path, loss: str) -> None:
    save_backbone(tmp_path / "weights", {"a": np.ones(3, np.float32)}, {"account": "text"})
    params, account = load_backbone(tmp_path / "weights")
    np.testing.assert_array_equal(params["a"], np.ones(3))
    assert account == "text"
    path = tmp_path / "weights" / loss
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UserError, match=r"weights: (damaged|no converted weights)"):
        load_backbone(tmp_path / "weights")


def test_history_without_its_torn_last_line(tmp_path: Path) -> None:
    write_history(tmp_path, [{"epoch": 1}, {"epoch": 2}])
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write(json.dumps({"epoch": 3})[:5])
    assert read_history(tmp_path) == [{"epoch": 1}, {"epoch": 2}]
