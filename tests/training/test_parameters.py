"""Parameters as devices keep them."""

import numpy as np

from adatad_jax.training.parameters import merge, split, with_frozen_in

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
    kept = with_frozen_in(TREE, "bfloat16", full=True)
    assert kept["backbone"]["blocks_0_1"]["attn"]["qkv"]["kernel"].dtype == np.float32
