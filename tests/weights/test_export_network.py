"""VideoMAEs written for PyTorch in every layout, and read again, here and by transformers."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import VideoMAEForPreTraining, VideoMAEForVideoClassification, VideoMAEModel

from adatad_jax.commands import export as command
from adatad_jax.config.build_clips import make_classifier
from adatad_jax.conversion.names import CLASSIFIER_ENCODERS, PRETRAINING_ENCODERS, Layout, network_naming
from adatad_jax.conversion.networks import write_autoencoder, write_classifier
from adatad_jax.conversion.torch_file import read_tensors
from adatad_jax.demo.weights import videomae_state
from adatad_jax.errors import UserError
from adatad_jax.models.classifier import Classifier
from adatad_jax.weights.clip_run import read_clip_run
from adatad_jax.weights.convert_file import convert_file
from adatad_jax.weights.export import export
from tests import clip_runs
from tests.clip_runs import CLASSES, finetuning, make_run, pretraining
from tests.conversion import live_models
from tests.conversion.release_detectors import Release, labels
from tests.weights.test_export import make_run as make_detector_run

LAYOUTS = [Layout.MMACTION, Layout.ORIGINAL, Layout.HUGGING_FACE]
Tensors = dict[str, np.ndarray]


def assert_same(one: Tensors, other: Tensors) -> None:
    """Checks that two files have the same tensors, bit for bit."""
    assert one.keys() == other.keys()
    for name, value in other.items():
        assert one[name].dtype == value.dtype, name
        np.testing.assert_array_equal(one[name], value, err_msg=name)


def content_of(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_runs_become_files_with_all_their_tensors(layout: Layout, suffix: str, tmp_path: Path) -> None:
    averages = {
        "mae": make_run(tmp_path / "mae", pretraining(), positions=True),
        "classifier": make_run(tmp_path / "classifier", finetuning(), CLASSES),
    }
    mae, classifier = (read_clip_run(tmp_path / name).model.config for name in ("mae", "classifier"))
    expected = {
        "mae": write_autoencoder(mae, averages["mae"], network_naming(PRETRAINING_ENCODERS[layout])),
        "classifier": write_classifier(classifier, averages["classifier"], network_naming(CLASSIFIER_ENCODERS[layout])),
    }
    for name, tensors in expected.items():
        output = tmp_path / f"{name}{suffix}"
        summary = export(tmp_path / name, output, layout=layout)
        assert f"{layout.value}, {len(tensors)} tensors" in summary
        assert "step 30, epoch 3" in summary
        assert_same(read_tensors(output).tensors, tensors)
        if suffix == ".pth":  # where the authors' code looks for them
            assert content_of(output)["model" if layout is Layout.ORIGINAL else "state_dict"].keys() == tensors.keys()
        convert_file(output, tmp_path / "flax" / name)
        again = tmp_path / f"{name}-again{suffix}"
        export(tmp_path / "flax" / name, again, layout=layout)
        assert_same(read_tensors(again).tensors, tensors)
        assert read_tensors(again).record == read_tensors(output).record


def test_the_default_is_what_the_seed_s_file_looks_like(tmp_path: Path) -> None:
    make_run(tmp_path / "run", finetuning(), CLASSES)
    command.main([str(tmp_path / "run"), str(tmp_path / "out.pth")])
    assert content_of(tmp_path / "out.pth")["state_dict"].keys() == videomae_state(0).keys()
    command.main([str(tmp_path / "run"), str(tmp_path / "mcg.pth"), "--layout", "original"])
    keys = content_of(tmp_path / "mcg.pth")["model"].keys()
    assert {"patch_embed.proj.weight", "blocks.2.mlp.fc2.bias", "fc_norm.bias", "head.weight"} <= keys


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["pre-training", "classifier", "model"])
def test_a_converted_file_comes_back_in_any_layout(kind: str, layout: Layout, tmp_path: Path) -> None:
    """Whatever the layout in between, the file of Hugging Face has the same bits at the end."""
    clip_runs.live(kind).save_pretrained(tmp_path / "hub")
    expected = read_tensors(tmp_path / "hub").tensors
    convert_file(tmp_path / "hub", tmp_path / "flax")
    export(tmp_path / "flax", tmp_path / "there.pth", layout=layout)
    convert_file(tmp_path / "there.pth", tmp_path / "again")
    export(tmp_path / "again", tmp_path / "back.safetensors", layout=Layout.HUGGING_FACE)
    found = read_tensors(tmp_path / "back.safetensors").tensors
    assert_same({key.removeprefix("videomae." if kind == "model" else ""): found[key] for key in found}, expected)


def test_a_file_of_mmaction_comes_back_bit_for_bit(tmp_path: Path) -> None:
    state = {key: torch.from_numpy(value) for key, value in videomae_state(0).items()}
    torch.save({"state_dict": state}, tmp_path / "in.pth")
    convert_file(tmp_path / "in.pth", tmp_path / "flax")
    export(tmp_path / "flax", tmp_path / "out.pth")
    assert_same(read_tensors(tmp_path / "out.pth").tensors, read_tensors(tmp_path / "in.pth").tensors)


def test_transformers_loads_the_folder_and_computes_the_same(tmp_path: Path) -> None:
    averages = make_run(tmp_path / "run", finetuning(), CLASSES)
    summary = export(tmp_path / "run", tmp_path / "hub", layout=Layout.HUGGING_FACE)
    assert re.search(r"note .*\b1e-06\b.*\btransformers\b.*\b1e-05\b", summary)
    live, account = VideoMAEForVideoClassification.from_pretrained(tmp_path / "hub", output_loading_info=True)
    assert not account["missing_keys"]
    assert not account["unexpected_keys"]
    assert live.config.id2label == dict(enumerate(CLASSES))
    frames, pixels = live_models.video(live)
    with torch.no_grad():
        expected = live.eval()(pixels).logits.numpy()
    config = make_classifier(finetuning(), 3).config
    found: Any = Classifier(config).apply({"params": averages}, frames)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", [VideoMAEForPreTraining, VideoMAEModel])
def test_transformers_loads_a_pre_trained_folder(kind: Any, tmp_path: Path) -> None:
    make_run(tmp_path / "run", pretraining(model__norm_eps=1e-5))
    summary = export(tmp_path / "run", tmp_path / "hub", layout=Layout.HUGGING_FACE)
    assert "note" not in summary
    live, account = kind.from_pretrained(tmp_path / "hub", output_loading_info=True)
    assert not account["missing_keys"]
    assert kind is VideoMAEModel or not account["unexpected_keys"]
    config = live.config
    assert (config.num_attention_heads, config.decoder_num_attention_heads, config.layer_norm_eps) == (2, 2, 1e-5)
    assert (config.image_size, config.use_mean_pooling) == (32, False)
    assert json.loads((tmp_path / "hub/config.json").read_text())["architectures"] == ["VideoMAEForPreTraining"]
    convert_file(tmp_path / "hub", tmp_path / "flax")


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path / "run", pretraining())
    out = tmp_path / "out.pth"
    with pytest.raises(UserError, match=r"/out: .*\.pth\b.*\.safetensors\b"):
        export(tmp_path / "run", tmp_path / "out")
    with pytest.raises(UserError, match=r"/run: no checkpoint of step 7; .*step 30\b"):
        export(tmp_path / "run", out, step=7)
    convert_file_of_custom_width(tmp_path)
    with pytest.raises(UserError, match=r"/flax: no run\b.*\(7\)"):
        export(tmp_path / "flax", out, step=7)
    with pytest.raises(UserError, match=r"/flax: .*\battention heads of the encoder\b"):
        export(tmp_path / "flax", tmp_path / "hub", layout=Layout.HUGGING_FACE)
    release = Release(adapters=(0, 1, 2))
    make_detector_run(tmp_path / "detector", release.config(labels(tmp_path / "labels.txt", 3)), 3, normalizer=5)
    with pytest.raises(UserError, match=r"/detector: .*\bone layout\b.*--layout"):
        export(tmp_path / "detector", out, layout=Layout.MMACTION)
    with pytest.raises(SystemExit):
        command.main([str(tmp_path / "run"), str(out), "--layout", "caffe"])
    assert not out.exists()


def convert_file_of_custom_width(folder: Path) -> None:
    """Converts a file of a width that is not published, which therefore does not show its heads."""
    live_models.make("classifier").save_pretrained(folder / "custom")
    (folder / "custom/config.json").unlink()
    convert_file(folder / "custom/model.safetensors", folder / "flax")
