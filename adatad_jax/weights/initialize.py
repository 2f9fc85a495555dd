"""Parameters before the first step: random adapters and detector, and the converted VideoMAE backbone."""

from pathlib import Path
from typing import Any, NamedTuple

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from adatad_jax.config.fields import Config
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.models.layers import Params
from adatad_jax.models.sizes import CHUNK_FRAMES
from adatad_jax.weights.backbone_store import insert_backbone, load_backbone


class Initial(NamedTuple):
    """A run's parameters before its first step.

    Attributes:
      params: the whole tree, on the host.
      summary: the backbone's conversion summary, as text.
      unused: name -> tensor of the backbone's file, unused tensors kept for export.
    """

    params: Params
    summary: str
    unused: dict[str, np.ndarray]


def initialize(model: AdaTAD, config: Config) -> Initial:
    """Draws adapters and detector from the seed, and reads the backbone from `config.weights`.

    Args:
      model: the detector.
      config: of the run.

    Raises:
      UserError: the weights cannot be read, or do not fit the model's backbone.
    """
    shapes = flax.traverse_util.flatten_dict(parameter_shapes(model, config))

    def drawn(key: jax.Array) -> dict[tuple[str, ...], jax.Array]:
        whole = flax.traverse_util.flatten_dict(_init(model, config, key))
        return {path: leaf for path, leaf in whole.items() if path[0] != "backbone" or "tia" in path}

    # Compiled as one function, so that XLA drops draws that nothing reads: up to a billion backbone parameters.
    ours = jax.device_get(jax.jit(drawn)(jax.random.key(config.seed)))
    params = flax.traverse_util.unflatten_dict({**shapes, **ours})
    weights = Path(config.weights)
    backbone = load_backbone(weights)
    return Initial(insert_backbone(params, backbone, model.vit, weights), backbone.summary, backbone.unused)


def parameter_shapes(model: AdaTAD, config: Config) -> Params:
    """Returns the tree of a model's parameters as shapes and dtypes (`jax.ShapeDtypeStruct`)."""
    shapes: Params = jax.eval_shape(lambda: _init(model, config, jax.random.key(0)))
    return shapes


def _init(model: AdaTAD, config: Config, key: jax.Array) -> Any:
    """Initialises all parameters of a model on one chunk of frames."""
    side = config.data.crop
    frames = jnp.zeros((1, CHUNK_FRAMES, side, side, 3), jnp.uint8)
    mask = jnp.ones((1, CHUNK_FRAMES // config.data.frames_per_position), bool)
    return model.init(key, frames, mask)["params"]
