"""Operations of a training step, against a count of matrix products by hand."""

import dataclasses

import jax
import pytest

from adatad_jax.config.build import make_model
from adatad_jax.data.loader import training_batch
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.models.sizes import CHUNK_FRAMES, CHUNK_TUBELETS
from adatad_jax.training.flops import flops_per_window
from adatad_jax.training.parameters import split
from adatad_jax.weights.initialize import parameter_shapes
from tests import records
from tests.tiny_detector import tiny_config

CONFIG = tiny_config().with_fields({"model.adaptation": "frozen", "data.rand_augment": False})
CONFIG = CONFIG.with_fields({"data.color_jitter": False})


def flops(model: AdaTAD) -> float:
    trained, frozen = split(parameter_shapes(model, CONFIG))
    window = training_batch([None], CONFIG, 8)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), window)
    found = flops_per_window(model, records.loss_config(), trained, frozen, shapes)
    assert found is not None
    return found


def test_a_frozen_block_more_costs_its_forward_pass() -> None:
    model = make_model(CONFIG, classes=2)
    vit = model.vit
    deeper = model.clone(vit=dataclasses.replace(vit, depth=vit.depth + 2))
    tokens = CHUNK_TUBELETS * (CONFIG.data.crop // vit.patch) ** 2
    chunks = CONFIG.data.window // CHUNK_FRAMES
    # q, k, v and the projection; the two layers of the MLP; logits and weighted sum of the attention.
    block = 2 * tokens * (4 * vit.width**2 + 2 * vit.width * vit.mlp_hidden) + 4 * tokens**2 * vit.width
    assert flops(deeper) - flops(model) == pytest.approx(2 * chunks * block, rel=0.1)  # norms and GELU are the rest
