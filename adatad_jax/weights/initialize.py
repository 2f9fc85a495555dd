"""Parameters before the first step: random, with the converted VideoMAE backbone in its place."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adatad_jax.config.fields import Config
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.models.sizes import CHUNK_FRAMES
from adatad_jax.weights.backbone_store import insert_backbone, load_backbone

Params = Any


def initialize(model: AdaTAD, config: Config) -> tuple[Params, str, dict[str, np.ndarray]]:
    """Initialises adapters and detector from the seed and the backbone from `config.weights`.

    Returns:
      The whole tree on the host, the account of the backbone's conversion, and the tensors of its file that the model
      does not use, by name.

    Raises:
      UserError: the weights cannot be read, or are unlike the model's backbone.
    """
    side = config.data.crop
    frames = jnp.zeros((1, CHUNK_FRAMES, side, side, 3), jnp.uint8)
    mask = jnp.ones((1, CHUNK_FRAMES // config.data.frames_per_position), bool)
    params = jax.device_get(jax.jit(model.init)(jax.random.key(config.seed), frames, mask)["params"])
    weights = Path(config.weights)
    backbone = load_backbone(weights)
    return insert_backbone(params, backbone, model.vit, weights), backbone.account, backbone.passengers
