"""Dry runs: what they print, with and without inputs, and that they write nothing."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

from adatad_jax import train
from adatad_jax.config.build import make_model
from adatad_jax.config.fields import Config
from adatad_jax.errors import UserError
from adatad_jax.weights.initialize import parameter_shapes
from tests.pipelines.small_runs import EPOCHS, VIDEOS, config_file, make_data, small_config


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make_data(folder)
    return folder


def small(folder: Path) -> Config:
    """A run whose inputs are in a folder, with two evaluations."""
    return small_config(folder).with_fields({"train.eval_from": 2, "train.eval_every": 1})


def files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def dry_run(folder: Path, config: Config, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Returns what a dry run prints, with the table's lines joined; checks that it writes nothing."""
    path = config_file(folder, config)
    before = files(folder)
    train.main(["--config", str(path), "--workdir", str(folder / "runs/new"), "--dry_run", *arguments])
    assert files(folder) == before
    return " ".join(re.sub(r"[│|]", " ", capsys.readouterr().out).split())


def test_all_is_compiled_and_timed_where_inputs_are_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = small(tmp_path).with_fields({"data.class_count": 7, "model.adaptation": "frozen"})
    text = dry_run(tmp_path, config, capsys)
    for missing in ("weights", "videos", "annotations.json"):
        assert str(tmp_path / missing) in text
    shapes = jax.tree.leaves(parameter_shapes(make_model(config, 7), config))
    assert f"{sum(int(np.prod(leaf.shape)) for leaf in shapes):,}" in text
    assert len(re.findall(r"iB per device", text)) == 2
    assert re.search(r"memory: activations kept.*estimated [\d.]+ GiB", text)
    assert re.search(r"memory, estimated [\d.]+ GiB", text)
    assert re.search(r"FLOP per step.*\d s per step", text)
    assert "hours are unknown" in text
    assert f"{EPOCHS} epochs in batches of 2" in text


def test_windows_steps_and_hours_follow_from_the_data(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small(data)
    text = dry_run(tmp_path, config, capsys, "--platform", "tpu")
    assert "cannot start" not in text
    assert f"{VIDEOS} per epoch in batches of 2: 3 steps" in text  # 5 videos in batches of 2
    assert f"{3 * EPOCHS} in {EPOCHS} epochs" in text
    assert text.count("lowered for tpu") == 2
    assert re.search(r"memory: activations.*tpu does not tell what it has: set model\.memory", text)
    assert str(tmp_path / "runs/new") in text


def test_the_size_of_stored_features_is_said(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = small(data).with_fields({"model.adaptation": "frozen", "train.cache_features": "auto"})
    text = dry_run(tmp_path, config, capsys, "--platform", "cpu")
    chunks = VIDEOS * EPOCHS * config.data.window // 16
    assert re.search(rf"{re.escape(str(tmp_path / 'runs/new/features'))}: \d+ chunks .* hold {chunks}\b", text)
    assert text.count("lowered for cpu") == 2


def test_annotations_alone_give_the_windows(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = small(data).with_fields({"data.videos": str(tmp_path / "none")})
    text = dry_run(tmp_path, config, capsys, "--platform", "cuda")
    assert str(tmp_path / "none") in text
    assert f"{VIDEOS} per epoch" in text
    assert text.count("lowered for cuda") == 2


def test_open_fields_need_the_annotations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = small(tmp_path).with_fields({"propose": True, "data.stride": 0})
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "annotations.json"))):
        dry_run(tmp_path, config, capsys)


def test_a_platform_is_for_dry_runs_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = config_file(tmp_path, small(tmp_path))
    with pytest.raises(SystemExit):
        train.main(["--config", str(path), "--platform", "tpu"])
    assert "--dry_run" in capsys.readouterr().err
