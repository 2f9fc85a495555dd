"""New runs from whole detectors: what is taken, what starts anew, and what is refused."""

import re
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import numpy as np
import pytest
import torch

from adatad_jax.config.build import make_model
from adatad_jax.config.fields import Config
from adatad_jax.conversion.detector import model_shapes
from adatad_jax.errors import UserError
from adatad_jax.training.parameters import merge
from adatad_jax.weights.convert_file import convert_file
from adatad_jax.weights.export import export
from adatad_jax.weights.from_detector import WholeDetector, read_weights, take_detector
from adatad_jax.weights.initialize import Initial, initialize
from adatad_jax.weights.load import load_trained
from tests.conversion.release_detectors import Release, behind_module, labels
from tests.weights.test_export import make_run

TIA = Release(adapters=(0, 1, 2))
CLASSES = ("class 0", "class 1", "class 2")
LAST, FRESH = "detector/head/class_tower/out", 7.0


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return TIA.config(labels(tmp_path / "labels.txt", 3))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Writes a checkpoint of the release with both states, without names of classes."""
    path = tmp_path / "adatad.pth"
    torch.save({"state_dict": behind_module(TIA.state(0)), "state_dict_ema": behind_module(TIA.state(1))}, path)
    return path


def start(weights: Path, config: Config, classes: tuple[str, ...] = CLASSES, **fields: Any) -> Initial:
    """Starts from a detector, in place of parameters that are all `FRESH`."""
    changed = {name.replace("__", "."): value for name, value in fields.items()}
    config = config.with_fields({"weights": str(weights), **changed})
    model, detector = make_model(config, len(classes)), read_weights(weights)
    assert isinstance(detector, WholeDetector)
    fresh = {path: np.full(shape, FRESH, np.float32) for path, shape in model_shapes(model).items()}
    params, summary = take_detector(flax.traverse_util.unflatten_dict(fresh), detector, model, config, classes)
    return Initial(params, summary, detector.unused)


def flat(params: Any) -> dict[str, np.ndarray]:
    leaves: dict[str, np.ndarray] = flax.traverse_util.flatten_dict(params, sep="/")
    return leaves


def test_everything_is_taken_from_a_run_a_folder_or_a_file(checkpoint: Path, config: Config, tmp_path: Path) -> None:
    state = make_run(tmp_path / "run", config, 3, normalizer=5)
    convert_file(checkpoint, tmp_path / "flax", config)
    export(tmp_path / "run", tmp_path / "run.safetensors")
    averages = flat(merge(state.average, state.frozen))
    for weights in (tmp_path / "run", tmp_path / "run.safetensors"):
        initial = start(weights, config)
        assert "the same 3" in initial.summary
        found = flat(initial.params)
        assert found.keys() == averages.keys()
        for path, leaf in averages.items():
            np.testing.assert_array_equal(found[path], leaf, err_msg=path)
    converted, file = start(tmp_path / "flax", config), start(checkpoint, config)
    assert "the same 3" in converted.summary
    assert "holds no names" in file.summary
    assert flat(converted.params).keys() == flat(file.params).keys() == averages.keys()
    for path, leaf in flat(converted.params).items():
        np.testing.assert_array_equal(flat(file.params)[path], leaf, err_msg=path)
    bias = TIA.state(1)["rpn_head.cls_head.bias"]  # the averages
    np.testing.assert_array_equal(flat(file.params)[f"{LAST}/bias"], bias)
    assert converted.unused.keys() == file.unused.keys() == {"fc_norm.weight", "fc_norm.bias", "pos_embed"}


def test_outputs_of_classes_are_matched_by_name(config: Config, tmp_path: Path) -> None:
    state = make_run(tmp_path / "run", config, 3, normalizer=5)
    before = flat(state.average)
    classes = ("class 2", "swim", "class 0", "dive")
    initial = start(tmp_path / "run", config, classes)
    found = flat(initial.params)
    np.testing.assert_array_equal(found[f"{LAST}/kernel"][..., [0, 2]], before[f"{LAST}/kernel"][..., [2, 0]])
    np.testing.assert_array_equal(found[f"{LAST}/bias"][[0, 2]], before[f"{LAST}/bias"][[2, 0]])
    assert (found[f"{LAST}/kernel"][..., [1, 3]] == FRESH).all()
    assert (found[f"{LAST}/bias"][[1, 3]] == FRESH).all()
    for path, leaf in before.items():
        if not path.startswith(LAST):
            np.testing.assert_array_equal(found[path], leaf, err_msg=path)
    for words in (r"2 of 4 .*: class 2, class 0\b", r"2 of 4 .*anew: swim, dive\b", r"gone: 1: class 1\b"):
        assert re.search(words, initial.summary)


def test_a_file_without_names_and_with_other_classes_gives_all_but_the_last_layer(
    checkpoint: Path, config: Config
) -> None:
    initial = start(checkpoint, config, ("a", "b"))
    found = flat(initial.params)
    assert found[f"{LAST}/kernel"].shape[-1] == 2
    assert {path for path, leaf in found.items() if (leaf == FRESH).any()} == {f"{LAST}/bias", f"{LAST}/kernel"}
    np.testing.assert_array_equal(
        found["detector/head/boundary_tower/out/bias"], TIA.state(1)["rpn_head.reg_head.bias"]
    )
    assert re.search(r"anew, with 2 classes; .*\b3 outputs\b", initial.summary)


def test_adapters_follow_the_new_run(config: Config, tmp_path: Path) -> None:
    state = make_run(tmp_path / "run", config, 3, normalizer=5)
    bare = start(tmp_path / "run", config, model__adaptation="frozen")
    assert not any("/tia/" in path for path in flat(bare.params))
    assert re.search(r"\badapters\b.*\bnot used\b", bare.summary)
    for path, leaf in flat(state.frozen).items():
        np.testing.assert_array_equal(flat(bare.params)[path], leaf, err_msg=path)
    frozen = config.with_fields({"model.adaptation": "frozen"})
    make_run(tmp_path / "frozen", frozen, 3, normalizer=5)
    adapted = start(tmp_path / "frozen", config)
    assert "adapters start anew" in adapted.summary
    for path, leaf in flat(adapted.params).items():
        assert (leaf == FRESH).all() == ("/tia/" in path), path
    with pytest.raises(UserError, match=r"adapters: the weights have TIA in blocks 0-2, hidden 16, the model"):
        start(tmp_path / "run", config, model__tia_blocks="1")


def test_plain_adapters_are_restored_from_a_run_and_are_no_tia(config: Config, tmp_path: Path) -> None:
    plain = config.with_fields({"model.adaptation": "adapter"})
    state = make_run(tmp_path / "run", plain, 3, normalizer=5)
    averages = flat(merge(state.average, state.frozen))
    assert {path.split("/tia/")[1] for path in averages if "/tia/" in path} == {
        "gamma",
        "down/kernel",
        "down/bias",
        "up/kernel",
        "up/bias",
    }
    restored, taken = load_trained(tmp_path / "run"), start(tmp_path / "run", plain)
    assert "plain adapters in blocks 0-2, hidden 16" in taken.summary
    for found in (flat(restored.params), flat(taken.params)):
        assert found.keys() == averages.keys()
        for path, leaf in averages.items():
            np.testing.assert_array_equal(found[path], leaf, err_msg=path)
    with pytest.raises(UserError, match=r"the weights have plain adapters in blocks 0-2, hidden 16, the model TIA"):
        start(tmp_path / "run", config)
    with pytest.raises(UserError, match=r"run: .*model\.adaptation='adapter'.*convolution over time"):
        export(tmp_path / "run", tmp_path / "run.safetensors")
    assert not (tmp_path / "run.safetensors").exists()


def test_a_run_is_initialised_with_a_detector(config: Config, tmp_path: Path) -> None:
    state = make_run(tmp_path / "run", config, 3, normalizer=5)
    config, classes = config.with_fields({"weights": str(tmp_path / "run")}), ("class 1", "swim")
    initial = initialize(make_model(config, 2), config, classes)
    found, before = flat(initial.params), flat(state.average)
    np.testing.assert_array_equal(found[f"{LAST}/bias"], [before[f"{LAST}/bias"][1], np.float32(-np.log(99))])
    assert np.ptp(found[f"{LAST}/kernel"][..., 1]) > 0
    np.testing.assert_array_equal(
        found["backbone/blocks_0_2/tia/up/kernel"], before["backbone/blocks_0_2/tia/up/kernel"]
    )


def test_what_a_detector_gives_is_not_drawn(config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = make_run(tmp_path / "run", config, 3, normalizer=5)
    config = config.with_fields({"weights": str(tmp_path / "run")})
    with jax.log_compiles():
        initialize(make_model(config, 3), config, ("class 2", "class 0", "another"))
        assert [text for text in caplog.messages if "jit(drawn)" in text]
        caplog.clear()
        initial = initialize(make_model(config, 3), config, ("class 2", "class 0", "class 1"))
    assert not [text for text in caplog.messages if "jit(drawn)" in text]
    found, before = flat(initial.params), flat(state.average)
    np.testing.assert_array_equal(found[f"{LAST}/kernel"], before[f"{LAST}/kernel"][..., [2, 0, 1]])
    for path in before.keys() - {f"{LAST}/kernel", f"{LAST}/bias"}:
        np.testing.assert_array_equal(found[path], before[path], err_msg=path)


def test_what_does_not_fit_is_listed(checkpoint: Path, config: Config, tmp_path: Path) -> None:
    make_run(tmp_path / "run", config, 3, normalizer=5)
    wider = {"model__width": 32, "model__stem": config.model.stem + 1}
    for weights in (tmp_path / "run", checkpoint):
        with pytest.raises(UserError) as caught:
            start(weights, config, **wider)
        message = str(caught.value)
        assert re.search(rf"config\.model\.width=32: .*\b{config.model.width}\b", message)
        assert re.search(rf"config\.model\.stem={config.model.stem + 1}: .*\b{config.model.stem}\b", message)
    with pytest.raises(UserError, match=r"config\.model\.heads=1: .*\b4\b"):
        start(tmp_path / "run", config, model__heads=1)
    assert re.search(
        r"config\.data\.stride=8: .*\b4\b", start(tmp_path / "run", config, data__stride=8, train__tia_rate=1.0).summary
    )


def test_a_step_can_be_chosen_of_a_run_alone(checkpoint: Path, config: Config, tmp_path: Path) -> None:
    make_run(tmp_path / "run", config, 3, normalizer=5)
    (step,) = (int(path.name) for path in (tmp_path / "run/checkpoints").iterdir() if path.name.isdecimal())
    assert isinstance(read_weights(tmp_path / "run", str(step)), WholeDetector)
    with pytest.raises(UserError, match=rf"\b{step}\b"):  # the steps that there are
        read_weights(tmp_path / "run", str(step + 1))
    with pytest.raises(UserError, match=r"config\.weights_step='last'.*\blatest\b.*\bbest\b"):
        read_weights(tmp_path / "run", "last")
    with pytest.raises(UserError, match=r"config\.weights_step='best': .*adatad\.pth"):
        read_weights(checkpoint, "best")


def test_a_folder_of_a_run_without_a_checkpoint_is_named(config: Config, tmp_path: Path) -> None:
    make_run(tmp_path / "run", config, 3, normalizer=5)
    (tmp_path / "run/checkpoints").rename(tmp_path / "gone")
    (tmp_path / "run/.lock").touch()
    with pytest.raises(UserError, match=rf"{re.escape(str(tmp_path / 'run'))}: no checkpoint here yet"):
        start(tmp_path / "run", config)


def test_a_part_of_a_run_is_named_with_the_run(config: Config, tmp_path: Path) -> None:
    run = tmp_path / "run"
    make_run(run, config, 3, normalizer=5)
    (step,) = (path for path in (run / "checkpoints").iterdir() if path.name.isdecimal())
    for part in (step, step.parent):
        with pytest.raises(UserError, match=rf"--config\.weights={re.escape(str(run))}, .*--config\.weights_step="):
            read_weights(part)
