"""Probabilities of views in batches, and their mean over a video."""

import jax
import numpy as np

from adatad_jax.inference.clip_classifier import ClipClassifier, best, classify_videos
from adatad_jax.models.classifier import Classifier
from adatad_jax.models.sizes import ClassifierConfig, ViTConfig

MODEL = Classifier(ClassifierConfig(ViTConfig(16, 1, 2, 32, patch=8, image_size=16), 3))


def test_batches_and_their_filling_change_nothing() -> None:
    views = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 16, 3), np.uint8)
    params = jax.jit(MODEL.init)(jax.random.key(0), views[:1])["params"]
    params["head"]["kernel"] = jax.random.normal(jax.random.key(1), params["head"]["kernel"].shape)
    logits = np.asarray(jax.jit(MODEL.apply)({"params": params}, views), np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    one = ClipClassifier(MODEL, params, per_device=1)
    found = one.probabilities(views)  # 5 views in batches of as many as there are devices
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    videos = dict(classify_videos(one, [("a", views[:2]), ("b", views[2:])]))
    np.testing.assert_allclose(videos["a"], expected[:2].mean(0), rtol=1e-5)
    np.testing.assert_allclose(videos["b"], expected[2:].mean(0), rtol=1e-5)


def test_the_most_probable_come_first() -> None:
    assert best(np.array([0.2, 0.5, 0.3]), ("a", "b", "c"), 2) == [("b", 0.5), ("c", 0.3)]
