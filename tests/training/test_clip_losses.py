"""The losses of the trainings on clips: fillers count for nothing, and parts sum to the whole."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adatad_jax.data.clip_batch import ClipBatch
from adatad_jax.models.autoencoder import MaskedAutoencoder
from adatad_jax.models.classifier import Classifier
from adatad_jax.models.sizes import AutoencoderConfig, ClassifierConfig, ViTConfig
from adatad_jax.pretraining.masking import draw_tube_masks
from adatad_jax.pretraining.objective import targets
from adatad_jax.training.classification_loss import make_classification_loss
from adatad_jax.training.pretraining_loss import make_pretraining_loss
from adatad_jax.training.step import Loss

VIT = ViTConfig(width=16, depth=2, heads=2, mlp_hidden=32, patch=8, image_size=16)
CLASSES, KEY = 3, jax.random.key(7)


def clips(count: int = 4) -> ClipBatch:
    rng = np.random.default_rng(0)
    return ClipBatch(
        frames=rng.integers(0, 256, (count, 16, 16, 16, 3), np.uint8),
        labels=np.arange(count, dtype=np.int32) % CLASSES,
        sample_ids=np.arange(count, dtype=np.int32),
        weight=np.ones(count, np.float32),
    )


def autoencoder() -> tuple[MaskedAutoencoder, Any]:
    model = MaskedAutoencoder(AutoencoderConfig(VIT, dataclasses.replace(VIT, width=8, depth=1)))
    masks = draw_tube_masks(KEY, jnp.arange(1), 4, 2)
    init = jax.jit(model.init)
    return model, init(jax.random.key(0), clips(1).frames, masks.visible, masks.masked)["params"]


def classifier(drop_path: float = 0.0) -> tuple[Classifier, Any]:
    model = Classifier(ClassifierConfig(dataclasses.replace(VIT, drop_path=drop_path), CLASSES))
    params = jax.jit(model.init)(jax.random.key(0), clips(1).frames)["params"]
    kernel = jax.random.normal(jax.random.key(1), params["head"]["kernel"].shape)
    return model, {**params, "head": {**params["head"], "kernel": kernel}}


def value_of(loss: Loss, params: Any, batch: ClipBatch, parts: int = 1) -> tuple[float, dict[str, Any]]:
    """The loss of a batch that is computed in parts, with what divides it counted over all of them."""
    size = len(batch.weight) // parts
    cut = [batch.part(slice(start, start + size), slice(None)) for start in range(0, parts * size, size)]
    whole = loss.normalize(sum(loss.count(part) for part in cut), jnp.float32(1))
    of_rows = jax.jit(loss.of_rows)
    found = [of_rows(params, part, whole.divisor, KEY) for part in cut]
    metrics = jax.tree.map(lambda *values: sum(map(float, values)), *[metrics for _, metrics in found])
    return sum(float(value) for value, _ in found), metrics


def test_error_of_masked_tubelets_by_hand() -> None:
    """The mean over clips of the mean squared difference from the normalised targets."""
    model, params = autoencoder()
    batch = clips()
    value, _ = value_of(make_pretraining_loss(model, masked=3), params, batch)
    masks = draw_tube_masks(KEY, batch.sample_ids, positions=4, masked=3)
    apply = jax.jit(model.apply)
    predictions = np.asarray(apply({"params": params}, batch.frames, masks.visible, masks.masked))
    expected = np.mean((predictions - np.asarray(targets(batch.frames, masks.masked, 8))) ** 2)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_cross_entropy_by_hand() -> None:
    """Targets of 0.8 + 0.2/3 for the label and 0.2/3 for the others; the accuracy counts the largest logits."""
    model, params = classifier()
    batch = clips()
    value, metrics = value_of(make_classification_loss(model, smoothing=0.2), params, batch)
    logits = np.asarray(jax.jit(model.apply)({"params": params}, batch.frames), np.float64)
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    wanted = np.full((4, 3), 0.2 / 3)
    wanted[np.arange(4), batch.labels] += 0.8
    np.testing.assert_allclose(value, -(wanted * logs).sum(1).mean(), rtol=1e-5)
    assert metrics["accuracy"] == pytest.approx((logits.argmax(1) == batch.labels).mean())


@pytest.mark.parametrize("task", ["pretraining", "classification"])
def test_parts_of_a_batch_sum_to_the_whole_and_fillers_count_for_nothing(task: str) -> None:
    if task == "pretraining":
        model, params = autoencoder()
        loss = make_pretraining_loss(model, masked=2)
    else:
        other, params = classifier(drop_path=0.3)
        loss = make_classification_loss(other, smoothing=0.1)
    batch = clips()
    whole, _ = value_of(loss, params, batch)
    parts, _ = value_of(loss, params, batch, parts=2)
    np.testing.assert_allclose(parts, whole, rtol=1e-5)
    filled = batch._replace(weight=np.array([1, 0, 1, 1], np.float32))
    noise = filled._replace(frames=np.where(filled.weight[:, None, None, None, None] > 0, batch.frames, 0))
    np.testing.assert_allclose(value_of(loss, params, filled)[0], value_of(loss, params, noise)[0], rtol=1e-6)


def test_a_batch_of_fillers_has_no_loss() -> None:
    model, params = autoencoder()
    empty = clips()._replace(weight=np.zeros(4, np.float32))
    assert value_of(make_pretraining_loss(model, masked=2), params, empty)[0] == 0


def test_a_clip_that_is_its_own_partner_is_not_changed_by_mixing() -> None:
    """Own share times the clip and the rest times the same clip: the same pixels, and the same targets."""
    model, params = classifier()
    loss, batch = make_classification_loss(model, smoothing=0.1), clips()
    mixed = batch._replace(partners=batch.frames, partner_labels=batch.labels)
    np.testing.assert_allclose(value_of(loss, params, mixed)[0], value_of(loss, params, batch)[0], rtol=1e-4)


def test_targets_are_mixed_with_those_of_partners() -> None:
    """Where both clips look the same, the loss is the mean of the two labels' losses by the shares of the mix."""
    model, params = classifier()
    loss, batch = make_classification_loss(model, smoothing=0.0), clips()
    others = (batch.labels + 1) % CLASSES
    mixed = batch._replace(partners=batch.frames, partner_labels=others)
    one, other = (value_of(loss, params, batch._replace(labels=labels))[0] for labels in (batch.labels, others))
    assert min(one, other) < value_of(loss, params, mixed)[0] < max(one, other)
