"""Layer-wise decay by hand: VideoMAE's numbering of layers, and torch's AdamW with one rate per layer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from adatad_jax.models.classifier import Classifier
from adatad_jax.models.sizes import ClassifierConfig, ViTConfig
from adatad_jax.training.layer_decay import layer_factors, scale_by_factors


@pytest.mark.parametrize("mean_pooling", [True, False])
def test_factors_of_three_blocks(mean_pooling: bool) -> None:
    """Worked for a decay of 1/2: embedding 1/16, blocks 1/8, 1/4, 1/2, norm and head 1."""
    vit = ViTConfig(width=8, depth=3, heads=2, mlp_hidden=16, image_size=32)
    clips = jax.ShapeDtypeStruct((1, 16, 32, 32, 3), jnp.uint8)
    init = Classifier(ClassifierConfig(vit, 4, mean_pooling)).init
    params = jax.eval_shape(init, jax.random.key(0), clips)["params"]
    params["encoder"]["pos_embed"] = jax.ShapeDtypeStruct((32, 8), jnp.float32)
    factors = layer_factors(params, 3, 0.5)
    encoder = factors["encoder"]
    for leaf in jax.tree.leaves([encoder["patch_embed"], encoder["pos_embed"]]):
        assert leaf == 1 / 16
    for leaf in jax.tree.leaves(encoder["blocks_0_2"]):
        assert leaf.ravel().tolist() == [1 / 8, 1 / 4, 1 / 2]
    for leaf in jax.tree.leaves([factors["head"], factors.get("fc_norm"), encoder.get("norm")]):
        assert leaf == 1
    jax.tree.map(lambda factor, leaf: np.broadcast_shapes(factor.shape, leaf.shape) == leaf.shape, factors, params)


def test_published_decay_of_the_base_model() -> None:
    """0.75 and 12 blocks: 0.75^13 for the embedding, 0.75^12 for the first block, 0.75 for the last."""
    params = {
        "encoder": {"patch_embed": jnp.zeros(2), "blocks_0_11": {"norm1": jnp.zeros((12, 2))}},
        "head": jnp.zeros(2),
    }
    factors = layer_factors(params, 12, 0.75)
    np.testing.assert_allclose(factors["encoder"]["patch_embed"], 0.023757264018058777, rtol=1e-6)
    blocks = factors["encoder"]["blocks_0_11"]["norm1"].ravel()
    np.testing.assert_allclose(blocks[[0, 11]], [0.03167635202407837, 0.75], rtol=1e-6)
    np.testing.assert_allclose(blocks[1:] / blocks[:-1], 4 / 3, rtol=1e-6)


@pytest.mark.usefixtures("fully_compiled")
def test_decay_of_weights_is_scaled_too() -> None:
    """As torch's AdamW with one group per layer, whose rate scales both the step and the decay."""
    values, gradients = np.array([[1.0, -2.0], [3.0, 0.5]], np.float32), np.array([[0.1, 0.2], [-0.3, 0.4]], np.float32)
    params = {"encoder": {"blocks_0_1": jnp.array(values)}}
    optimizer = optax.chain(optax.adamw(0.1, weight_decay=0.5), scale_by_factors(layer_factors(params, 2, 0.5)))
    updates, _ = optimizer.update({"encoder": {"blocks_0_1": jnp.array(gradients)}}, optimizer.init(params), params)
    rows = [torch.tensor(row, requires_grad=True) for row in values]
    for row, gradient in zip(rows, gradients, strict=True):
        row.grad = torch.tensor(gradient)
    groups = [{"params": [row], "lr": 0.1 * factor} for row, factor in zip(rows, (0.25, 0.5), strict=True)]
    torch.optim.AdamW(groups, weight_decay=0.5).step()
    expected = np.stack([row.detach().numpy() for row in rows])
    np.testing.assert_allclose(optax.apply_updates(params, updates)["encoder"]["blocks_0_1"], expected, rtol=1e-5)
