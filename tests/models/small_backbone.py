"""A backbone of two small blocks with adapters, its parameters, and frames for it."""

import jax
import numpy as np

from adatad_jax.models.backbone import Backbone
from adatad_jax.models.sizes import ViTConfig

SMALL = ViTConfig(width=32, depth=2, heads=2, mlp_hidden=64, patch=16, image_size=32, tia_blocks=(0, 1), tia_hidden=8)


def frames(seed: int = 0, batch: int = 1, length: int = 48) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (batch, length, 32, 32, 3), dtype=np.uint8)


def moved_params(config: ViTConfig) -> dict:
    """Returns random parameters, of scales and factors around 1, so that the adapters have an effect."""
    shapes = jax.eval_shape(Backbone(config).init, jax.random.key(0), frames())["params"]
    draw = np.random.default_rng(0).normal

    def drawn(path: tuple, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        middle = 1 if path[-1].key in ("scale", "gamma") else 0
        return (middle + 0.1 * draw(size=leaf.shape)).astype(np.float32)

    return jax.tree_util.tree_map_with_path(drawn, shapes)
