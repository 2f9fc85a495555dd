"""Hugging Face files against the live torch models that wrote them, and the checks of their `config.json`."""

import functools
import json
import re
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import numpy as np
import pytest
import torch

from adatad_jax.conversion.torch_file import read_tensors
from adatad_jax.conversion.videomae import ConvertedBackbone, convert_backbone
from adatad_jax.errors import UserError
from adatad_jax.models.backbone import Backbone
from adatad_jax.models.sizes import ViTConfig
from tests.conversion import live_models

pytestmark = pytest.mark.usefixtures("fully_compiled")

ATOL = 5e-5  # as tests/golden/README.md for features


@functools.partial(jax.jit, static_argnums=0)
def apply(config: ViTConfig, params: dict[str, Any], frames: np.ndarray) -> jax.Array:
    return Backbone(config).apply({"params": params}, frames)


def our_features(backbone: ConvertedBackbone, frames: np.ndarray) -> np.ndarray:
    assert backbone.heads is not None
    return np.asarray(apply(backbone.config, backbone.params, frames))


@pytest.mark.parametrize("size", live_models.PROPORTIONS)
def test_features_and_logits_of_a_classifier(size: str, tmp_path: Path) -> None:
    live = live_models.make("classifier", size)
    live.save_pretrained(tmp_path)
    frames, pixels = live_models.video(live)
    backbone = convert_backbone(read_tensors(tmp_path))
    assert backbone.layout == "Hugging Face VideoMAE (fine-tuned)"
    assert backbone.config.norm_eps == 1e-12
    expected = live_models.features(live, pixels)
    features = our_features(backbone, frames)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(features, expected, rtol=0, atol=ATOL)

    rest = backbone.unused
    pooled = features.mean(1)
    deviation = np.sqrt(pooled.var(1, keepdims=True) + 1e-5)
    normed = (pooled - pooled.mean(1, keepdims=True)) / deviation * rest["fc_norm.weight"] + rest["fc_norm.bias"]
    logits = normed @ rest["cls_head.fc_cls.weight"].T + rest["cls_head.fc_cls.bias"]
    with torch.no_grad():
        live_logits = live(pixels).logits.numpy()
    np.testing.assert_allclose(logits, live_logits, rtol=0, atol=ATOL)


@pytest.mark.parametrize("kind", ["model", "pre-training"])
@pytest.mark.parametrize("form", ["safetensors", "shards", "bin", "file"])
def test_every_form_of_a_model(kind: str, form: str, tmp_path: Path) -> None:
    """Covers the bias names of saved files and of a live `state_dict`, and a norm after the encoder."""
    live = live_models.make(kind, use_mean_pooling=False, layer_norm_eps=0.02)
    path = tmp_path / "weights"
    if form == "file":
        path.mkdir()
        path /= "live.bin"
        torch.save(live.state_dict(), path)
        live.config.save_pretrained(path.parent)
    elif form == "bin":
        live_models.save_bin(live, path)
    else:
        live.save_pretrained(path, max_shard_size="20KB" if form == "shards" else "1GB")
        assert (len(list(path.glob("model*.safetensors"))) > 1) == (form == "shards")
    file = read_tensors(path)
    assert any(".query.bias" in key for key in file.tensors) == (form == "file")
    backbone = convert_backbone(file)
    assert backbone.layout == "Hugging Face VideoMAE" + " (pre-training)" * (kind == "pre-training")
    frames, pixels = live_models.video(live)
    expected = live_models.features(live, pixels)
    np.testing.assert_allclose(our_features(backbone, frames), expected, rtol=0, atol=ATOL)
    # Nothing in the file is lost: tensors that are not parameters are kept unchanged.
    front = "videomae." if kind == "pre-training" else ""
    assert f"{front}layernorm.weight" in backbone.unused
    assert backbone.read == len(live.state_dict())
    assert backbone.mapped == 2 + 3 * 15
    for key, value in backbone.unused.items():
        np.testing.assert_array_equal(value, file.tensors[key])
    assert backbone.mapped + len(backbone.unused) == backbone.read


@pytest.mark.parametrize("field", ["qv_bias", "qkv_bias", None])
def test_without_biases(field: str | None, tmp_path: Path) -> None:
    live = live_models.make("classifier", qv_bias=False)
    live.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config.pop("qv_bias") is False
    if field:
        (tmp_path / "config.json").write_text(json.dumps(config | {field: False}))
    else:
        (tmp_path / "config.json").unlink()
    backbone = convert_backbone(read_tensors(tmp_path if field else tmp_path / "model.safetensors"))
    assert re.search(r"^note .*\bno biases on q and v\b.*\bzero\b", backbone.summary(), re.MULTILINE)
    assert not np.any(backbone.params["blocks_0_2"]["attn"]["q_bias"])
    if field:
        frames, pixels = live_models.video(live)
        expected = live_models.features(live, pixels)
        np.testing.assert_allclose(our_features(backbone, frames), expected, rtol=0, atol=ATOL)


def test_without_config_what_is_not_shown_is_said(tmp_path: Path) -> None:
    live_models.make("model").save_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    backbone = convert_backbone(read_tensors(tmp_path / "model.safetensors"))
    assert (backbone.heads, backbone.image_size, backbone.config.norm_eps) == (None, None, 1e-12)
    assert "heads unknown" in backbone.summary()
    assert re.search(r"^note .*\bconfig\.json\b.*\bnorm epsilon, 1e-12\b", backbone.summary(), re.MULTILINE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_act": "relu"}, "hidden_act='relu', expected 'gelu'"),
        ({"tubelet_size": 4}, "tubelet_size=4, expected 2"),
        ({"num_channels": 1}, "num_channels=1, expected 3"),
        ({"num_frames": 32}, "num_frames=32, expected 16"),
        ({"model_type": "vit"}, "model_type='vit', expected 'videomae'"),
        ({"hidden_size": 768}, "hidden_size=768, expected 24"),
        ({"num_hidden_layers": 2}, "num_hidden_layers=2, expected 3"),
        ({"intermediate_size": 95}, "intermediate_size=95, expected 96"),
        ({"patch_size": [16, 14]}, "patch_size=[16, 14], expected 16"),
        ({"num_attention_heads": 7}, "num_attention_heads=7, expected a divisor of 24"),
        ({"num_attention_heads": "6"}, "num_attention_heads='6', expected a divisor of 24"),
        ({"image_size": [32, 48]}, "image_size=[32, 48], expected one multiple of the patch size 16"),
        ({"layer_norm_eps": 0}, "layer_norm_eps=0, expected"),
        ({"qv_bias": "yes"}, "qv_bias='yes', expected true or false"),
        ({"qv_bias": False}, "unknown: encoder.layer.2.attention.attention.v_bias (24,)"),
    ],
)
def test_config_that_does_not_fit_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    live_models.make("model").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changes | {"id2label": {}}))
    with pytest.raises(UserError) as caught:
        convert_backbone(read_tensors(tmp_path))
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_heads_of_a_published_width_are_its_heads(tmp_path: Path) -> None:
    dims = {"hidden_size": 384, "num_attention_heads": 12, "num_hidden_layers": 1, "intermediate_size": 8}
    live_models.make("model", **dims).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="num_attention_heads=12, expected 6"):
        convert_backbone(read_tensors(tmp_path))


@pytest.mark.parametrize("size", ["S", "g"])
@pytest.mark.parametrize("form", ["mmaction", "mmaction bare", "original", "original pre-training"])
def test_other_layouts_give_the_same_parameters(size: str, form: str, tmp_path: Path) -> None:
    live = live_models.make("classifier", size)
    live.save_pretrained(tmp_path)
    expected = flax.traverse_util.flatten_dict(convert_backbone(read_tensors(tmp_path)).params)
    state = {
        "mmaction": lambda: live_models.to_mmaction(live),
        "mmaction bare": lambda: live_models.to_mmaction(live, prefix=""),
        "original": lambda: live_models.to_original(live),
        "original pre-training": lambda: live_models.to_original(live, pre_training=True),
    }[form]()
    torch.save({"model": state}, tmp_path / "file.pth")
    backbone = convert_backbone(read_tensors(tmp_path / "file.pth"))
    found = flax.traverse_util.flatten_dict(backbone.params)
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        assert found[path].dtype == np.float32
        np.testing.assert_array_equal(found[path], value)
    depth = live.config.num_hidden_layers
    assert backbone.mapped == 2 + 13 * depth
    kind = "pre-training" if "pre-training" in form else "fine-tuned"
    assert backbone.layout == f"{form.split()[0]} VideoMAE ({kind})"
    assert backbone.config.norm_eps == 1e-6
    if "pre-training" not in form:
        assert set(backbone.unused) == {
            f"{name}.{end}" for name in ("fc_norm", "cls_head.fc_cls") for end in ("weight", "bias")
        }
        np.testing.assert_array_equal(backbone.unused["cls_head.fc_cls.weight"], live.classifier.weight.detach())
