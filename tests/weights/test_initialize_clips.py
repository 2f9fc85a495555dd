"""First parameters of the networks on clips: what every kind of weights gives, what is drawn, and what is refused."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adatad_jax.classification.kinetics import kinetics_400
from adatad_jax.config.build_clips import make_autoencoder, make_classifier
from adatad_jax.conversion.names import CLASSIFIER_ENCODERS, PRETRAINING_ENCODERS, Layout, network_naming
from adatad_jax.conversion.networks import read_autoencoder, read_classifier, write_autoencoder, write_classifier
from adatad_jax.errors import UserError
from adatad_jax.weights.convert_file import convert_file
from adatad_jax.weights.export import export
from adatad_jax.weights.initialize import Initial
from adatad_jax.weights.initialize_clips import initialize_autoencoder, initialize_classifier, network_tree
from tests import clip_runs
from tests.clip_runs import CLASSES, finetuning, flat, make_run, pretraining, same
from tests.conversion.release_detectors import Release
from tests.models import live_videomae

BESIDE = ("encoder/norm", "encoder_to_decoder", "mask_token", "decoder")


def start_pretraining(weights: Path | str, **fields: Any) -> Initial:
    config = pretraining(weights=str(weights), **fields)
    return initialize_autoencoder(make_autoencoder(config), config)


def start_finetuning(weights: Path | str, classes: tuple[str, ...] = CLASSES, **fields: Any) -> Initial:
    config = finetuning(weights=str(weights), **fields)
    return initialize_classifier(make_classifier(config, len(classes)), config, classes)


@pytest.fixture(scope="module")
def autoencoder() -> dict[str, Any]:
    """Returns the parameters of a live autoencoder."""
    live = clip_runs.live("pre-training")
    config, naming = live_videomae.autoencoder_config(live), live_videomae.naming(live)
    return read_autoencoder(config, live_videomae.state(live), live_videomae.SOURCE, naming)


def hugging_face(folder: Path) -> Path:
    clip_runs.live("pre-training").save_pretrained(folder / "hub")
    return folder / "hub"


def original(folder: Path) -> Path:
    """Writes a file as the authors' pre-training saves it."""
    live = clip_runs.live("pre-training")
    config, naming = live_videomae.autoencoder_config(live), live_videomae.naming(live)
    params = read_autoencoder(config, live_videomae.state(live), live_videomae.SOURCE, naming)
    state = write_autoencoder(config, params, network_naming(PRETRAINING_ENCODERS[Layout.ORIGINAL]))
    torch.save({"model": {key: torch.from_numpy(value.copy()) for key, value in state.items()}}, folder / "mae.pth")
    return folder / "mae.pth"


def converted(folder: Path) -> Path:
    convert_file(original(folder), folder / "flax")
    return folder / "flax"


def converted_from_hugging_face(folder: Path) -> Path:
    convert_file(hugging_face(folder), folder / "flax")
    return folder / "flax"


def exported_again(folder: Path) -> Path:
    export(converted_from_hugging_face(folder), folder / "back.pth")
    return folder / "back.pth"


@pytest.mark.parametrize("write", [hugging_face, original, converted, converted_from_hugging_face, exported_again])
def test_encoder_norm_and_decoder_are_taken(
    write: Callable[[Path], Path], autoencoder: dict[str, Any], tmp_path: Path
) -> None:
    initial = start_pretraining(write(tmp_path))
    same(initial.params, autoencoder)
    assert initial.unused == {}
    assert "decoder: taken" in initial.summary
    is_hugging_face = write in (hugging_face, converted_from_hugging_face, exported_again)
    # The one epsilon of transformers that its config.json does not set.
    assert bool(re.search(r"decoder: .*\b1e-05\b.*\b1e-06\b", initial.summary)) == is_hugging_face


def test_folders_of_earlier_versions_serve(autoencoder: dict[str, Any], tmp_path: Path) -> None:
    record = json.loads((converted(tmp_path) / "conversion.json").read_text())
    del record["beside"]
    (tmp_path / "flax/conversion.json").write_text(json.dumps(record))
    same(start_pretraining(tmp_path / "flax").params, autoencoder)


def test_adapters_that_come_with_the_weights_are_left(tmp_path: Path) -> None:
    state = Release(adapters=(0, 1, 2)).state(0)
    torch.save({"state_dict": state}, tmp_path / "adatad.pth")
    convert_file(tmp_path / "adatad.pth", tmp_path / "flax", backbone_only=True)
    initial = start_finetuning(tmp_path / "flax")
    assert re.search(r"\badapters\b.*\bnot used\b", initial.summary)
    bias = initial.params["encoder"]["blocks_0_2"]["mlp"]["fc2"]["bias"][1]
    np.testing.assert_array_equal(bias, state["backbone.model.backbone.blocks.1.mlp.layers.1.bias"])


def test_a_run_goes_on_from_another(tmp_path: Path) -> None:
    averages = make_run(tmp_path / "run", pretraining())
    same(start_pretraining(tmp_path / "run").params, averages)
    initial = start_finetuning(tmp_path / "run", weights_step=str(clip_runs.STEP))
    found = flat(initial.params)
    for path, leaf in flat(averages).items():
        if path.startswith("encoder/") and not path.startswith("encoder/norm"):
            np.testing.assert_array_equal(found[path], leaf, err_msg=path)
    assert not any(path.startswith(BESIDE) for path in found)
    assert f"step {clip_runs.STEP}, epoch 3" in initial.summary
    with pytest.raises(UserError, match=r"\bstep 31\b.*\bstep 30\b"):
        start_pretraining(tmp_path / "run", weights_step="31")


def test_what_the_weights_lack_is_what_the_seed_gives(tmp_path: Path) -> None:
    averages = make_run(tmp_path / "run", finetuning(), CLASSES)
    fresh, initial = flat(start_pretraining("").params), start_pretraining(tmp_path / "run")
    assert re.search(r"norm after the encoder: not in the weights", initial.summary)
    assert re.search(r"decoder: not in the weights\b.*\bseed 0\b", initial.summary)
    for path, leaf in flat(initial.params).items():
        expected = fresh if path.startswith(BESIDE) else flat(averages)
        np.testing.assert_array_equal(leaf, expected[path], err_msg=path)
    other = flat(start_pretraining("", seed=1).params)
    assert (other["mask_token"] != fresh["mask_token"]).any()


def test_without_weights_everything_is_drawn() -> None:
    for initial, model in (
        (start_pretraining(""), make_autoencoder(pretraining())),
        (start_finetuning(""), make_classifier(finetuning(), 3)),
    ):
        tree = network_tree(model)
        shapes = {path: (leaf.shape, leaf.dtype) for path, leaf in flat(tree).items()}
        assert {path: (leaf.shape, leaf.dtype) for path, leaf in flat(initial.params).items()} == shapes
        assert "seed 0" in initial.summary


def test_positions_of_their_own_are_taken(tmp_path: Path) -> None:
    averages = make_run(tmp_path / "run", pretraining(), positions=True)
    same(start_pretraining(tmp_path / "run").params, averages)
    table = flat(start_finetuning(tmp_path / "run").params)["encoder/pos_embed"]
    np.testing.assert_array_equal(table, averages["encoder"]["pos_embed"])


def test_everything_that_does_not_fit_is_listed_with_its_field(tmp_path: Path) -> None:
    clip_runs.live("pre-training", layer_norm_eps=1e-12, decoder_num_hidden_layers=1).save_pretrained(tmp_path / "hub")
    with pytest.raises(UserError) as caught:
        start_pretraining(tmp_path / "hub", model__image_size=64)
    message = str(caught.value)
    assert re.search(r"norm_eps: .*--config\.model\.norm_eps=1e-12$", message, re.MULTILINE)
    assert re.search(r"decoder's depth: .*\b1\b.*\b2$", message, re.MULTILINE)
    clip_runs.live("pre-training").save_pretrained(tmp_path / "tiny")
    with pytest.raises(UserError, match=r"--config\.model\.size=tiny\b"):
        start_pretraining(tmp_path / "tiny", model__size="S")
    make_run(tmp_path / "run", pretraining())
    with pytest.raises(UserError, match=r"image_size: .*--config\.model\.image_size=32\b"):
        start_finetuning(tmp_path / "run", model__image_size=64)


def test_a_decoder_that_is_not_whole_is_refused_where_it_is_wanted(tmp_path: Path) -> None:
    content = torch.load(original(tmp_path), weights_only=True)
    del content["model"]["decoder.blocks.1.norm1.bias"]
    torch.save(content, tmp_path / "mae.pth")
    with pytest.raises(UserError, match=r"mae\.pth: .*\n.*missing: decoder\.blocks\.1\.norm1\.bias"):
        start_pretraining(tmp_path / "mae.pth")
    assert "classifier: not in the weights" in start_finetuning(tmp_path / "mae.pth").summary


def test_outputs_are_matched_by_the_names_of_their_classes(tmp_path: Path) -> None:
    averages = make_run(tmp_path / "run", finetuning(), CLASSES)
    same(start_finetuning(tmp_path / "run").params, averages)
    export(tmp_path / "run", tmp_path / "run.safetensors", layout=Layout.HUGGING_FACE)
    for weights in (tmp_path / "run", tmp_path / "run.safetensors"):
        initial = start_finetuning(weights, ("wave", "swim", "dance"))
        head, before = initial.params["head"], averages["head"]
        for name in ("kernel", "bias"):
            np.testing.assert_array_equal(head[name][..., [0, 2]], before[name][..., [2, 0]])
        assert np.abs(head["kernel"][:, 1]).max() < 2e-4
        same(initial.params["fc_norm"], averages["fc_norm"])
        for words in (r"2 of 3 .*: wave, dance\b", r"1 of 3 .*anew: swim\b", r"gone: 1: jump\b"):
            assert re.search(words, initial.summary)
    fresh = start_finetuning("", ("run", "swim", "fly")).params
    initial = start_finetuning(tmp_path / "run", ("run", "swim", "fly"))
    same(initial.params["head"], fresh["head"])
    same(initial.params["fc_norm"], fresh["fc_norm"])


def write_mmaction(path: Path, outputs: int) -> dict[str, Any]:
    """Writes a classifier in mmaction's layout, and returns its parameters."""
    live = clip_runs.live("classifier", num_labels=outputs)
    config = live_videomae.classifier_config(live)
    params = read_classifier(config, live_videomae.state(live), live_videomae.SOURCE, live_videomae.naming(live))
    state = write_classifier(config, params, network_naming(CLASSIFIER_ENCODERS[Layout.MMACTION]))
    torch.save({"state_dict": {key: torch.from_numpy(value.copy()) for key, value in state.items()}}, path)
    return params


def test_400_outputs_are_those_of_kinetics_for_its_list_alone(tmp_path: Path) -> None:
    params = write_mmaction(tmp_path / "k400.pth", 400)
    initial = start_finetuning(tmp_path / "k400.pth", kinetics_400())
    same(initial.params, params)
    assert "the same 400" in initial.summary
    reordered = tuple(reversed(kinetics_400()))
    for classes in (reordered, CLASSES):
        initial = start_finetuning(tmp_path / "k400.pth", classes)
        assert re.search(rf"anew, with {len(classes)} classes; .*\b400 outputs\b", initial.summary)
        assert np.abs(initial.params["head"]["kernel"]).max() < 2e-4


def test_a_classifier_of_the_first_token_starts_anew(tmp_path: Path) -> None:
    clip_runs.live("classifier", use_mean_pooling=False).save_pretrained(tmp_path / "hub")
    initial = start_finetuning(tmp_path / "hub")
    assert re.search(r"classifier: starts anew; .*\bfirst token\b", initial.summary)
    assert (initial.params["fc_norm"]["scale"] == 1).all()


def test_detectors_and_nothing_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": Release(adapters=(0, 1, 2)).state(0)}, tmp_path / "adatad.pth")
    with pytest.raises(UserError, match=r"adatad\.pth: a whole detector\b.*\bVideoMAE\b"):
        start_pretraining(tmp_path / "adatad.pth")
    with pytest.raises(UserError, match=r"nothing\.pth: no such file"):
        start_finetuning(tmp_path / "nothing.pth")
    with pytest.raises(UserError, match=r"config\.weights_step='first'.*\blatest\b"):
        start_finetuning(tmp_path / "adatad.pth", weights_step="first")
