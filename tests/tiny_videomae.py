"""The tensors of a small VideoMAE, random, under the keys of a published file."""

import json
import re
from pathlib import Path

import numpy as np

from adatad_jax.models.sizes import SIZES

KEYS = Path(__file__).parent / "golden/keys/mmaction_videomae_s_k400_checkpoint.json"
TINY = SIZES["tiny"]
REFERENCE_WIDTH = SIZES["S"].width


def published_shapes() -> dict[str, tuple[int, ...]]:
    """The published file's keys for as many blocks as size `tiny` has, with its width in place of 384."""
    multiples = {REFERENCE_WIDTH * factor: TINY.width * factor for factor in (1, 3, 4)}
    shapes = {}
    for entry in json.loads(KEYS.read_text())["keys"]:
        block = re.search(r"blocks\.(\d+)\.", entry["key"])
        if block is None or int(block[1]) < TINY.depth:
            shapes[entry["key"]] = tuple(multiples.get(size, size) for size in entry["shape"])
    return shapes


def videomae_state(seed: int) -> dict[str, np.ndarray]:
    """Random values, float32; norms near the identity, and positions that are no sinusoids."""
    rng = np.random.default_rng(seed)
    state = {key: rng.normal(0, 0.1, shape).astype(np.float32) for key, shape in published_shapes().items()}
    for key in state:
        if re.search(r"norm\d?\.weight$", key):
            state[key] += 1
    return state
