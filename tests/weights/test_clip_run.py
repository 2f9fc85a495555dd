"""Runs on clips as weights of a detector, and commands that are given the wrong run."""

import json
from pathlib import Path
from typing import Any

import flax.traverse_util
import numpy as np
import pytest

from adatad_jax.config.build import make_model
from adatad_jax.config.clip_fields import FinetuningConfig, PretrainingConfig
from adatad_jax.config.fields import Config
from adatad_jax.conversion.networks import check_network
from adatad_jax.conversion.torch_file import read_tensors, write_tensors
from adatad_jax.errors import UserError
from adatad_jax.weights.backbone_store import UNUSED_FILE, insert_backbone
from adatad_jax.weights.changes import check_fields
from adatad_jax.weights.clip_run import read_clip_run
from adatad_jax.weights.export import export
from adatad_jax.weights.from_detector import WholeDetector, read_weights
from adatad_jax.weights.initialize import initial_shapes, initialize
from adatad_jax.weights.load import load_trained
from adatad_jax.weights.run_folder import check_config
from tests.clip_runs import CLASSES, finetuning, flat, make_run, pretraining, same
from tests.conversion.release_detectors import BACKBONE, Release, labels
from tests.weights.test_export import make_run as make_detector_run


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Release(adapters=(0, 1, 2)).config(labels(tmp_path / "labels.txt", 3))


@pytest.mark.parametrize("kind", [pretraining, finetuning])
@pytest.mark.parametrize("positions", [False, True])
def test_a_detector_starts_from_the_encoder_of_a_run(
    kind: Any, positions: bool, config: Config, tmp_path: Path
) -> None:
    averages = make_run(tmp_path / "run", kind(), CLASSES if kind is finetuning else (), positions)
    config = config.with_fields({"weights": str(tmp_path / "run"), "weights_step": "30"})
    model = make_model(config, 3)
    initial = initialize(model, config, CLASSES)
    found = {path: leaf for path, leaf in flat(initial.params["backbone"]).items() if "/tia/" not in path}
    expected = {path: leaf for path, leaf in flat(averages["encoder"]).items() if not path.startswith("norm/")}
    same(flax.traverse_util.unflatten_dict(found, sep="/"), flax.traverse_util.unflatten_dict(expected, sep="/"))
    assert "step 30, epoch 3" in initial.summary
    shapes = {path: leaf.shape for path, leaf in flat(initial_shapes(model, config)).items()}
    assert {path: leaf.shape for path, leaf in flat(initial.params).items()} == shapes


def test_an_exported_detector_has_the_norm_of_the_classifier_it_started_from(config: Config, tmp_path: Path) -> None:
    averages = make_run(tmp_path / "clips", finetuning(), CLASSES)
    found = read_weights(tmp_path / "clips")
    assert not isinstance(found, WholeDetector)
    make_detector_run(tmp_path / "run", config, 3, normalizer=5)
    write_tensors(tmp_path / "run" / UNUSED_FILE, found.unused)
    export(tmp_path / "run", tmp_path / "out.safetensors")
    written = read_tensors(tmp_path / "out.safetensors").tensors
    np.testing.assert_array_equal(written[f"{BACKBONE}fc_norm.weight"], averages["fc_norm"]["scale"])


def test_a_run_of_another_size_is_refused_by_name(config: Config, tmp_path: Path) -> None:
    make_run(tmp_path / "run", pretraining())
    config = config.with_fields({"model.image_size": 64, "model.norm_eps": 1e-5})
    model, found = make_model(config, 3), read_weights(tmp_path / "run")
    assert not isinstance(found, WholeDetector)
    with pytest.raises(UserError) as caught:
        insert_backbone(initial_shapes(model, config), found, model.vit, tmp_path / "run")
    assert "--config.model.image_size=32" in str(caught.value)
    assert "--config.model.norm_eps=1e-06" in str(caught.value)


def test_runs_are_kept_apart_by_their_task(config: Config, tmp_path: Path) -> None:
    make_run(tmp_path / "mae", pretraining())
    make_detector_run(tmp_path / "detector", config, 3, normalizer=5)
    with pytest.raises(UserError, match=rf"/mae: .*\b{PretrainingConfig.task}\b.*\b{Config.task}\b"):
        load_trained(tmp_path / "mae")
    with pytest.raises(UserError, match=rf"/detector: .*\b{Config.task}\b.*\b{FinetuningConfig.task}\b"):
        read_clip_run(tmp_path / "detector")
    for check in (
        lambda: check_config(tmp_path / "mae", finetuning()),
        lambda: check_fields(tmp_path / "mae", finetuning(), CLASSES),
    ):
        with pytest.raises(UserError, match=rf"/mae: .*\b{PretrainingConfig.task}\b.*\b{FinetuningConfig.task}\b"):
            check()
    check_config(tmp_path / "mae", pretraining())
    assert check_fields(tmp_path / "mae", pretraining(), ()) == []
    with pytest.raises(UserError, match=r"model\.mask_ratio: .*\b0\.9\b.*\b0\.75\b"):
        check_config(tmp_path / "mae", pretraining(model__mask_ratio=0.75))


def test_parameters_are_compared_with_the_configuration(tmp_path: Path) -> None:
    make_run(tmp_path / "run", finetuning(), CLASSES)
    content = json.loads((tmp_path / "run/config.json").read_text())
    content["classes"].append("swim")
    (tmp_path / "run/config.json").write_text(json.dumps(content))
    with pytest.raises(UserError) as caught:
        read_clip_run(tmp_path / "run")
    assert str(caught.value).startswith(f"{tmp_path / 'run'}: ")
    assert "head/bias: found (3,), the configuration needs (4,)" in str(caught.value)
    averages = make_run(tmp_path / "mae", pretraining(), positions=True)
    run = read_clip_run(tmp_path / "mae")
    same(run.params, averages)
    averages["encoder"]["pos_embed"] = averages["encoder"]["pos_embed"][1:]
    with pytest.raises(UserError, match=r"encoder/pos_embed: found \(31, 64\), .*\(32, 64\)"):
        check_network(averages, run.model, tmp_path)
    content["config"]["model.colour"] = "red"
    (tmp_path / "run/config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"config\.json: .*\bmodel\.colour\b"):
        read_clip_run(tmp_path / "run")
