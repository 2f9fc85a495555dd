"""The clip classifier against torch's."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest
import torch

from adatad_jax.classification.objective import cross_entropy, smoothed
from adatad_jax.conversion.networks import read_classifier, write_classifier
from adatad_jax.errors import UserError
from adatad_jax.models.classifier import Classifier
from adatad_jax.models.sizes import ClassifierConfig, ViTConfig
from tests.conversion import live_models
from tests.models import live_videomae

pytestmark = pytest.mark.usefixtures("fully_compiled")

SMALL = ClassifierConfig(ViTConfig(width=32, depth=2, heads=2, mlp_hidden=64, image_size=32, drop_path=0.5), 7)


@pytest.mark.parametrize("mean_pooling", [True, False], ids=["mean and fc_norm", "first token"])
def test_logits_and_gradients_are_torchs(mean_pooling: bool) -> None:
    live = live_models.make("classifier", use_mean_pooling=mean_pooling)
    frames, pixels = live_models.video(live)
    labels = np.array([3, 0])
    output = live(pixels, labels=torch.from_numpy(labels))
    output.loss.backward()

    config, naming = live_videomae.classifier_config(live), live_videomae.naming(live)
    params = read_classifier(config, live_videomae.state(live), live_videomae.SOURCE, naming)

    def loss(params: Any) -> tuple[jax.Array, jax.Array]:
        logits: Any = Classifier(config).apply({"params": params}, frames)
        return cross_entropy(logits, smoothed(labels, 7, 0.0)).mean(), logits

    with jax.default_matmul_precision("highest"):
        (value, logits), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    np.testing.assert_allclose(logits, output.logits.detach(), rtol=0, atol=5e-5)
    np.testing.assert_allclose(value, output.loss.item(), rtol=0, atol=1e-5)
    ours = write_classifier(config, live_videomae.on_host(gradients), naming)
    live_videomae.assert_same_gradients(ours, live, 1e-4)


def test_stochastic_depth_depends_on_the_clip_alone() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (4, 16, 32, 32, 3), dtype=np.uint8)
    model, ids, order = Classifier(SMALL), np.arange(4), np.array([2, 0, 3, 1])
    params = {"params": live_videomae.random_params(model, frames)}

    @jax.jit
    def run(frames: jax.Array, ids: jax.Array) -> jax.Array:
        logits: Any = model.apply(params, frames, ids, rngs={"dropout": jax.random.key(1)})
        return logits

    np.testing.assert_allclose(run(frames[order], ids[order]), run(frames, ids)[order], atol=1e-5)
    assert np.abs(run(frames, ids[order]) - run(frames, ids)).max() > 1e-2


def test_first_weights_are_those_of_the_published_fine_tuning() -> None:
    frames = np.zeros((1, 16, 32, 32, 3), np.uint8)
    config = ClassifierConfig(dataclasses.replace(SMALL.encoder, width=128, mlp_hidden=256), 50)
    params = jax.jit(Classifier(config).init)(jax.random.key(0, impl="rbg"), frames)["params"]
    np.testing.assert_allclose(np.std(params["head"]["kernel"]), 0.02 * 0.001, rtol=0.05)
    np.testing.assert_allclose(np.std(params["encoder"]["blocks_0_1"]["mlp"]["fc1"]["kernel"]), 0.02, rtol=0.05)


def test_a_classifier_of_one_class_is_refused() -> None:
    with pytest.raises(UserError, match=r"\b1\b.*\b2\b"):
        dataclasses.replace(SMALL, classes=1)
