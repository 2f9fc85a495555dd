"""What is beside an encoder in files of all layouts, whatever the prefix, is read as whole networks are."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adatad_jax.conversion.beside import Beside, read_decoder, read_head, read_norm
from adatad_jax.conversion.names import CLASSIFIER_ENCODERS, PRETRAINING_ENCODERS, Layout, network_naming
from adatad_jax.conversion.networks import read_autoencoder, read_classifier, write_autoencoder, write_classifier
from adatad_jax.conversion.torch_file import TensorFile
from adatad_jax.conversion.videomae import ConvertedBackbone, convert_backbone
from adatad_jax.errors import UserError
from tests.clip_runs import same
from tests.conversion import live_models
from tests.models import live_videomae

SOURCE = Path("file.pth")
LAYOUTS = [Layout.MMACTION, Layout.ORIGINAL, Layout.HUGGING_FACE]


def converted(tensors: dict[str, np.ndarray], prefix: str = "") -> ConvertedBackbone:
    return convert_backbone(TensorFile(SOURCE, {prefix + key: value for key, value in tensors.items()}, {}))


def without_encoder(params: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name != "encoder"}


@pytest.mark.parametrize("layout", [*LAYOUTS, None], ids=lambda layout: layout.name if layout else "live")
@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("changes", [{"use_mean_pooling": False}, {"qv_bias": False}], ids=["norm", "no biases"])
def test_decoders(layout: Layout | None, prefix: str, changes: dict[str, bool]) -> None:
    live = live_models.make("pre-training", decoder_num_hidden_layers=2, **changes)
    state, config = live_videomae.state(live), live_videomae.autoencoder_config(live)
    params = read_autoencoder(config, state, live_videomae.SOURCE, live_videomae.naming(live))
    if layout:
        state = write_autoencoder(config, params, network_naming(PRETRAINING_ENCODERS[layout]))
    backbone = converted(state, prefix)
    assert backbone.layout.endswith("(pre-training)")
    decoder = read_decoder(backbone.config, backbone.unused, backbone.beside, SOURCE)
    assert decoder is not None
    assert decoder.heads is None  # of a width that is not published, and without config.json
    same(decoder.params, without_encoder(params))
    norm = read_norm(backbone.unused)
    assert (norm is None) == ("norm" not in params["encoder"])
    if norm is not None:
        same(norm, params["encoder"]["norm"])
    assert decoder.config.encoder_norm == (norm is not None)
    assert decoder.config.head_norm_eps == (1e-6 if layout in (Layout.MMACTION, Layout.ORIGINAL) else 1e-5)
    assert read_head(backbone.config, backbone.unused, backbone.beside, SOURCE) is None


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@pytest.mark.parametrize("mean_pooling", [True, False])
def test_classifiers(layout: Layout, mean_pooling: bool) -> None:
    live = live_models.make("classifier", use_mean_pooling=mean_pooling)
    config = live_videomae.classifier_config(live)
    params = read_classifier(config, live_videomae.state(live), live_videomae.SOURCE, live_videomae.naming(live))
    backbone = converted(write_classifier(config, params, network_naming(CLASSIFIER_ENCODERS[layout])))
    head = read_head(backbone.config, backbone.unused, backbone.beside, SOURCE)
    assert head is not None
    same(head.params, without_encoder(params))
    assert (head.config.classes, head.config.mean_pooling) == (7, mean_pooling)
    assert (read_norm(backbone.unused) is None) == mean_pooling
    assert read_decoder(backbone.config, backbone.unused, backbone.beside, SOURCE) is None


def test_a_decoder_that_is_not_whole_lists_what_does_not_fit() -> None:
    live = live_models.make("pre-training")
    state = live_videomae.state(live)
    del state["decoder.head.bias"]
    state["decoder.norm.weight"] = np.zeros(5, np.float32)
    state["decoder.extra"] = np.zeros(5, np.float32)
    backbone = converted(state)
    with pytest.raises(UserError) as caught:
        read_decoder(backbone.config, backbone.unused, backbone.beside, SOURCE)
    message = str(caught.value)
    assert message.startswith("file.pth: 3 tensors")
    for line in ("missing: decoder.head.bias", "decoder.norm.weight is (5,), expected (12,)", "unknown: decoder.extra"):
        assert line in message


def test_heads_and_epsilon_of_a_hugging_face_folder(tmp_path: Path) -> None:
    live = live_models.make("pre-training")
    file = TensorFile(SOURCE, live_videomae.state(live), {}, live.config.to_dict())
    backbone = convert_backbone(file)
    decoder = read_decoder(backbone.config, backbone.unused, backbone.beside, SOURCE)
    assert decoder is not None
    assert (decoder.heads, decoder.config.decoder.heads, decoder.config.decoder.norm_eps) == (2, 2, 1e-12)
    for heads in (0, "two"):
        with pytest.raises(UserError, match=rf"decoder_num_attention_heads={heads!r}, expected\b"):
            convert_backbone(dataclasses.replace(file, config={**file.config, "decoder_num_attention_heads": heads}))


def test_what_is_known_is_recorded() -> None:
    beside = Beside(Layout.ORIGINAL, 3, 1e-6, ("a", "b"), 112, 2)
    assert Beside.of_record({"beside": beside.record()}, SOURCE) == beside
    unknown = Beside.of_layout(Layout.HUGGING_FACE)
    assert Beside.of_record({"beside": unknown.record()}, SOURCE) == unknown
    for record in ({}, {"beside": {"layout": "?", "classes": None}}, {"beside": {**beside.record(), "colour": 1}}):
        with pytest.raises(UserError, match=r"file\.pth: its record\b"):
            Beside.of_record(record, SOURCE)
