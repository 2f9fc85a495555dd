"""The demo's checkpoint: a VideoMAE file in mmaction layout whose patch embedding is an orthogonal basis."""

import json
import re
from pathlib import Path

import numpy as np

from adatad_jax.demo.weights import DEPTH, WIDTH, videomae_state

KEYS = Path(__file__).parents[1] / "golden/keys/mmaction_videomae_s_k400_checkpoint.json"
REFERENCE_WIDTH = 384


def test_keys_and_shapes_follow_the_published_checkpoint() -> None:
    """Expects the published file's keys for as many blocks as the demo has, with its width in place of 384."""
    listed = json.loads(KEYS.read_text())["keys"]
    multiples = {REFERENCE_WIDTH * factor: WIDTH * factor for factor in (1, 3, 4)}
    expected = {}
    for entry in listed:
        block = re.search(r"blocks\.(\d+)\.", entry["key"])
        if block is None or int(block[1]) < DEPTH:
            expected[entry["key"]] = tuple(multiples.get(size, size) for size in entry["shape"])
    state = videomae_state(0)
    assert {key: value.shape for key, value in state.items()} == expected
    assert all(value.dtype == np.float32 and np.isfinite(value).all() for value in state.values())


def test_patch_embedding_is_orthogonal() -> None:
    kernel = videomae_state(0)["backbone.patch_embed.projection.weight"].reshape(WIDTH, -1).astype(np.float64)
    kernel = kernel[np.abs(kernel).sum(axis=1) > 0]
    norms = np.linalg.norm(kernel, axis=1)
    assert len(kernel) >= 8
    np.testing.assert_allclose(kernel @ kernel.T / np.outer(norms, norms), np.eye(len(kernel)), atol=1e-6)


def test_seed_decides_the_drawn_weights() -> None:
    one, same, other = videomae_state(1), videomae_state(1), videomae_state(2)
    assert all(np.array_equal(one[key], same[key]) for key in one)
    assert not np.array_equal(one["backbone.blocks.1.attn.proj.weight"], other["backbone.blocks.1.attn.proj.weight"])
