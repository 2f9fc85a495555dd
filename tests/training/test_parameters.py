"""Parameters as devices keep them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from adatad_jax.models.backbone import Backbone
from adatad_jax.models.sizes import SIZES
from adatad_jax.training.parameters import detector_groups, merge, split, with_frozen_in

ONES = np.ones((2, 2), np.float32)
TREE = {
    "backbone": {
        "pos_embed": ONES,
        "blocks_0_1": {"attn": {"qkv": {"kernel": ONES}, "q_bias": ONES}, "tia": {"up": {"kernel": ONES}}},
    },
    "detector": {"head": {"out": {"kernel": ONES, "bias": ONES}}},
}


def test_the_frozen_kernels_alone_change_their_dtype() -> None:
    kept = with_frozen_in(TREE, "bfloat16")
    block = kept["backbone"]["blocks_0_1"]
    assert block["attn"]["qkv"]["kernel"].dtype == "bfloat16"
    others = (kept["backbone"]["pos_embed"], block["attn"]["q_bias"], block["tia"]["up"]["kernel"])
    assert {leaf.dtype for leaf in (*others, *kept["detector"]["head"]["out"].values())} == {np.dtype(np.float32)}
    trained, frozen = split(TREE)
    parts = merge(trained, with_frozen_in(frozen, "bfloat16"))  # the same by parts
    assert parts["backbone"]["blocks_0_1"]["attn"]["qkv"]["kernel"].dtype == "bfloat16"


def test_float32_and_full_fine_tuning_change_nothing() -> None:
    assert with_frozen_in(TREE, "float32") is TREE
    kept = with_frozen_in(TREE, "bfloat16", detector_groups(full=True))
    assert kept["backbone"]["blocks_0_1"]["attn"]["qkv"]["kernel"].dtype == np.float32


def test_products_in_bfloat16_are_the_same_from_frozen_kernels_in_bfloat16() -> None:
    """They are rounded for the products in any case."""
    model = Backbone(dataclasses.replace(SIZES["tiny"], tia_blocks=(0, 1, 2), tia_hidden=16), jnp.bfloat16)
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (1, 32, 32, 32, 3), np.uint8)
    shapes = jax.eval_shape(model.init, jax.random.key(0), frames)["params"]
    params = {"backbone": jax.tree.map(lambda leaf: rng.normal(0, 0.1, leaf.shape).astype(np.float32), shapes)}
    run = jax.jit(lambda tree: model.apply({"params": tree["backbone"]}, frames))
    np.testing.assert_array_equal(run(params), run(with_frozen_in(params, "bfloat16")))
