"""Whole networks in the names of all layouts: decoder and classifier beside the encoder, there and back."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from adatad_jax.conversion.names import (
    CLASSIFIER_ENCODERS,
    LIVE_BIASES,
    PRETRAINING_ENCODERS,
    Layout,
    network_naming,
    recognise,
)
from adatad_jax.conversion.network_dimensions import read_autoencoder_config, read_classifier_config
from adatad_jax.conversion.networks import read_autoencoder, read_classifier, write_autoencoder, write_classifier
from adatad_jax.errors import UserError
from tests.conversion import live_models
from tests.models import live_videomae

LAYOUTS = [Layout.MMACTION, Layout.ORIGINAL, Layout.HUGGING_FACE]
SAVED = {live: saved for saved, live in LIVE_BIASES}
# Of one block in MCG-NJU's code.
BLOCK = (
    *(
        f"{layer}.{kind}"
        for layer in ("norm1", "norm2", "attn.proj", "mlp.fc1", "mlp.fc2")
        for kind in ("weight", "bias")
    ),
    *("attn.q_bias", "attn.v_bias", "attn.qkv.weight"),
)
PAIR = ("weight", "bias")


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def saved_names(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns a live model's tensors under the names of saved files."""
    for live, saved in SAVED.items():
        state = {key.replace(live, saved) if ".attention.attention." in key else key: state[key] for key in state}
    return state


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mean_pooling", [True, False])
def test_autoencoder_there_and_back(layout: Layout, mean_pooling: bool) -> None:
    live = live_models.make("pre-training", use_mean_pooling=mean_pooling, decoder_num_hidden_layers=2)
    state = live_videomae.state(live)
    config, naming = live_videomae.autoencoder_config(live), live_videomae.naming(live)
    params = read_autoencoder(config, state, live_videomae.SOURCE, naming)
    assert_same(write_autoencoder(config, params, naming), state)

    written = write_autoencoder(config, params, network_naming(PRETRAINING_ENCODERS[layout]))
    if layout is Layout.HUGGING_FACE:
        assert_same(written, saved_names(state))
    for prefix in ("", "module."):
        tensors = {prefix + key: value for key, value in written.items()}
        again = network_naming(recognise(tensors, live_videomae.SOURCE), prefix)
        assert again.layout is layout
        jax.tree.map(
            np.testing.assert_array_equal, read_autoencoder(config, tensors, live_videomae.SOURCE, again), params
        )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mean_pooling", [True, False])
def test_classifier_there_and_back(layout: Layout, mean_pooling: bool) -> None:
    live = live_models.make("classifier", use_mean_pooling=mean_pooling)
    state = live_videomae.state(live)
    config, naming = live_videomae.classifier_config(live), live_videomae.naming(live)
    params = read_classifier(config, state, live_videomae.SOURCE, naming)
    assert_same(write_classifier(config, params, naming), state)

    written = write_classifier(config, params, network_naming(CLASSIFIER_ENCODERS[layout]))
    if layout is Layout.HUGGING_FACE:
        assert_same(written, saved_names(state))
    elif mean_pooling:  # the names of mmaction's and MCG-NJU's files, as the tests of the backbone have them
        expected = live_models.to_mmaction(live) if layout is Layout.MMACTION else live_models.to_original(live)
        positions = {"backbone.pos_embed": live.videomae.embeddings.position_embeddings}
        assert_same(written, expected | (positions if layout is Layout.MMACTION else {}))
    again = network_naming(recognise(written, live_videomae.SOURCE))
    jax.tree.map(np.testing.assert_array_equal, read_classifier(config, written, live_videomae.SOURCE, again), params)


def test_names_of_a_pre_training_of_mcg_nju() -> None:
    live = live_models.make("pre-training", use_mean_pooling=False, decoder_num_hidden_layers=2)
    config, naming = live_videomae.autoencoder_config(live), live_videomae.naming(live)
    params = read_autoencoder(config, live_videomae.state(live), live_videomae.SOURCE, naming)
    written = write_autoencoder(config, params, network_naming(PRETRAINING_ENCODERS[Layout.ORIGINAL]))
    assert set(written) == {
        *(f"encoder.blocks.{i}.{key}" for i in range(3) for key in BLOCK),
        *(f"decoder.blocks.{i}.{key}" for i in range(2) for key in BLOCK),
        *(f"{part}.{kind}" for part in ("encoder.patch_embed.proj", "encoder.norm") for kind in PAIR),
        *(f"decoder.{part}.{kind}" for part in ("norm", "head") for kind in PAIR),
        "encoder_to_decoder.weight",
        "mask_token",
    }
    assert written["mask_token"].shape == (1, 1, 12)
    assert written["encoder_to_decoder.weight"].shape == (12, 24)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_positions_of_its_own_are_kept(layout: Layout) -> None:
    live = live_models.make("classifier")
    config, naming = live_videomae.classifier_config(live), live_videomae.naming(live)
    params = read_classifier(config, live_videomae.state(live), live_videomae.SOURCE, naming)
    params["encoder"]["pos_embed"] = np.random.default_rng(0).normal(size=(8 * 4, 24)).astype(np.float32)
    naming = network_naming(CLASSIFIER_ENCODERS[layout])
    written = write_classifier(config, params, naming)
    again = read_classifier(config, written, live_videomae.SOURCE, naming)
    jax.tree.map(np.testing.assert_array_equal, again, params)
    (key,) = naming.parts("encoder.pos_embed")
    with pytest.raises(UserError, match=rf"wrong shape: {key} is \(1, 16, 24\), expected \(1, 32, 24\)"):
        read_classifier(config, {**written, key: written[key][:, :16]}, live_videomae.SOURCE, naming)


def test_a_network_without_biases_gets_zeros() -> None:
    live = live_models.make("pre-training", qv_bias=False)
    naming = live_videomae.naming(live)
    assert not naming.has_biases
    params = read_autoencoder(
        live_videomae.autoencoder_config(live), live_videomae.state(live), live_videomae.SOURCE, naming
    )
    for part in (params["encoder"]["blocks_0_2"], params["decoder"]["blocks_0_0"]):
        assert not np.any(part["attn"]["q_bias"])
        assert not np.any(part["attn"]["v_bias"])


def test_missing_and_misshapen_tensors_are_named_as_in_the_file() -> None:
    live = live_models.make("classifier")
    state = live_videomae.state(live)
    del state["fc_norm.weight"]
    state["classifier.weight"] = state["classifier.weight"][:5]
    with pytest.raises(UserError) as caught:
        read_classifier(live_videomae.classifier_config(live), state, live_videomae.SOURCE, live_videomae.naming(live))
    message = str(caught.value)
    assert "missing: fc_norm.weight" in message
    assert "wrong shape: classifier.weight is (5, 24), expected (7, 24)" in message


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mean_pooling", [True, False])
def test_dimensions_are_read_off_the_tensors(layout: Layout, mean_pooling: bool) -> None:
    eps = 1e-5 if layout is Layout.HUGGING_FACE else 1e-6
    changes = {"use_mean_pooling": mean_pooling, "layer_norm_eps": 1e-6}
    live = live_models.make("pre-training", decoder_num_hidden_layers=2, **changes)
    config = dataclasses.replace(live_videomae.autoencoder_config(live), head_norm_eps=eps)
    params = read_autoencoder(config, live_videomae.state(live), live_videomae.SOURCE, live_videomae.naming(live))
    naming = network_naming(PRETRAINING_ENCODERS[layout])
    written = write_autoencoder(config, params, naming)
    assert read_autoencoder_config(config.encoder, written, naming, live_videomae.SOURCE, heads=2) == config
    flat = {**written, naming.parts("encoder_to_decoder.weight")[0]: np.zeros(12)}
    with pytest.raises(UserError, match=r"^live model: .*\bencoder_to_decoder\.weight is \(12,\)"):
        read_autoencoder_config(config.encoder, flat, naming, live_videomae.SOURCE)
    unknown = read_autoencoder_config(config.encoder, written, naming, live_videomae.SOURCE)
    assert unknown.decoder == dataclasses.replace(config.decoder, heads=1)
    with pytest.raises(UserError, match=r"^live model: .*\bwidth 12\b.*\b5 attention heads\b"):
        read_autoencoder_config(config.encoder, written, naming, live_videomae.SOURCE, heads=5)
    with pytest.raises(UserError, match=r"^live model: has no classifier: \S*(fc_cls|head|classifier)\.weight\b"):
        read_classifier_config(config.encoder, written, naming, live_videomae.SOURCE)

    live = live_models.make("classifier", **changes)
    classifier = dataclasses.replace(live_videomae.classifier_config(live), head_norm_eps=eps)
    params = read_classifier(classifier, live_videomae.state(live), live_videomae.SOURCE, live_videomae.naming(live))
    naming = network_naming(CLASSIFIER_ENCODERS[layout])
    written = write_classifier(classifier, params, naming)
    assert read_classifier_config(classifier.encoder, written, naming, live_videomae.SOURCE) == classifier
    with pytest.raises(UserError, match=r"^live model: has no decoder: encoder_to_decoder\.weight\b"):
        read_autoencoder_config(classifier.encoder, written, naming, live_videomae.SOURCE)
