"""A run's folder: which commands may continue its run, and which may not."""

import importlib.metadata
import json
import re
import shutil
from pathlib import Path

import pytest

from adatad_jax.config.fields import Config
from adatad_jax.errors import UserError
from adatad_jax.weights.run_folder import (
    FORMAT,
    check_config,
    check_unlocked,
    holds_run,
    locked,
    read_config,
    write_config,
)

CLASSES = ("jump", "run")


@pytest.fixture
def config() -> Config:
    return Config()


def test_a_run_is_continued_by_the_same_configuration_and_classes(tmp_path: Path, config: Config) -> None:
    write_config(tmp_path, config, CLASSES)
    fields, classes = read_config(tmp_path)
    assert classes == CLASSES
    assert fields["data.window"] == 768
    config = config.with_fields(
        {"train.epochs": 70, "data.threads": 3, "test.sigma": 0.5}
    )  # nothing that was learned depends on them
    check_config(tmp_path, config)


def test_a_run_of_before_a_field_came_has_its_default(tmp_path: Path, config: Config) -> None:
    write_config(tmp_path, config, CLASSES)
    content = json.loads((tmp_path / "config.json").read_text())
    del content["config"]["data.overlap"], content["config"]["data.rate"]
    (tmp_path / "config.json").write_text(json.dumps(content))
    config = config.with_fields({"data.rate": 30.0})  # of no effect on what was learned
    check_config(tmp_path, config)
    config = config.with_fields({"data.overlap": 0.25})
    with pytest.raises(UserError, match=r"data\.overlap: .*\b0\.5\b.*\b0\.25\b"):
        check_config(tmp_path, config)


def test_every_other_field_that_differs_is_listed(tmp_path: Path, config: Config) -> None:
    write_config(tmp_path, config, CLASSES)
    config = config.with_fields({"seed": 1, "model.width": 256, "train.resume_with_changes": True})
    with pytest.raises(UserError) as caught:
        check_config(tmp_path, config)
    assert re.search(r"\bmodel\.width: .*\b512\b.*\b256\b", str(caught.value))
    assert re.search(r"\bseed: .*\b0\b.*\b1\b", str(caught.value))


def test_checkpoints_without_a_configuration_are_refused(tmp_path: Path, config: Config) -> None:
    (tmp_path / "checkpoints" / "10").mkdir(parents=True)
    with pytest.raises(UserError, match=r": checkpoints\b.*config\.json.*--workdir"):
        check_config(tmp_path, config)
    shutil.rmtree(tmp_path / "checkpoints")
    (tmp_path / "checkpoints").touch()
    with pytest.raises(UserError, match=r": checkpoints\b.*config\.json.*--workdir"):
        check_config(tmp_path, config)


def test_a_start_that_ended_before_it_wrote_its_configuration_is_repeated(tmp_path: Path, config: Config) -> None:
    (tmp_path / "checkpoints").mkdir()
    check_config(tmp_path, config)
    assert not holds_run(tmp_path)


@pytest.mark.parametrize("content", ["", "{}", '{"config": 3}', "[1]"])
def test_damaged_configuration_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"config\.json: damaged"):
        read_config(tmp_path)


def test_one_training_a_folder(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "run"),
        pytest.raises(UserError, match=r"/run: .*\btraining\b.*--workdir"),
        locked(tmp_path / "run"),
    ):
        pass
    with locked(tmp_path / "run"), pytest.raises(UserError, match=r"/run: .*\btraining\b.*--workdir"):
        check_unlocked(tmp_path / "run")
    check_unlocked(tmp_path / "run")
    check_unlocked(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"/file: .*\(File exists\)"), locked(tmp_path / "file"):
        pass


def test_a_folder_of_a_newer_version_is_refused(tmp_path: Path, config: Config) -> None:
    write_config(tmp_path, config, CLASSES)
    content = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**content, "format": 99, "version": "7.8.9"}))
    own = re.escape(importlib.metadata.version("adatad-jax"))
    with pytest.raises(UserError, match=rf"config\.json: format 99\b.*\b7\.8\.9\b.*\b{own}\b.* {FORMAT}\b"):
        read_config(tmp_path)
    del content["format"]  # as version 0.1 wrote it
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert read_config(tmp_path)[1] == CLASSES
