"""Parameters before the first step: a VideoMAE backbone with random adapters and detector, or a whole detector's."""

import functools
import logging
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from adatad_jax.config.fields import Config
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.models.layers import Params
from adatad_jax.models.sizes import CHUNK_FRAMES
from adatad_jax.weights.backbone_store import ADAPTERS, LoadedBackbone, adapters_note, insert_backbone
from adatad_jax.weights.drawing import draw_parameters
from adatad_jax.weights.from_detector import WholeDetector, is_left_open, read_weights, take_detector

_logger = logging.getLogger(__name__)


class Initial(NamedTuple):
    """A run's parameters before its first step.

    Attributes:
      params: the whole tree, on the host.
      summary: what was taken from the weights, as text.
      unused: name -> tensor of the backbone's file that the model does not use, kept for export.
    """

    params: Params
    summary: str
    unused: dict[str, np.ndarray]


def initialize(model: AdaTAD, config: Config, classes: tuple[str, ...]) -> Initial:
    """Takes what `config.weights` holds, and draws the other parameters from the seed.

    The weights are a backbone, a backbone with adapters, or a whole detector.

    Args:
      model: the detector.
      config, classes: of the run.

    Raises:
      UserError: the weights cannot be read, or do not fit the model.
    """
    weights = Path(config.weights)
    backbone = read_weights(weights, config.weights_step)
    init = functools.partial(_init, model, config)
    if isinstance(backbone, WholeDetector):
        params = draw_parameters(init, config.seed, lambda path: is_left_open(path, backbone, model.vit, classes))
        whole, summary = take_detector(params, backbone, model, config, classes)
        return Initial(whole, summary, backbone.unused)
    with_adapters = backbone.adapters is not None

    def is_wanted(path: tuple[str, ...]) -> bool:
        return path[0] != "backbone" or (ADAPTERS in path and not with_adapters)

    params = draw_parameters(init, config.seed, is_wanted)
    summary = "\n".join(filter(None, (backbone.summary, adapters_note(backbone, model.vit))))
    inserted = insert_backbone(params, backbone, model.vit, weights)
    warn_of_pre_training(backbone, config)
    return Initial(inserted, summary, backbone.unused)


def warn_of_pre_training(backbone: LoadedBackbone, config: Config) -> None:
    """Logs a warning if weights are of pre-training alone, and those of the configuration's published run were not."""
    if backbone.is_pre_trained and config.published:
        _logger.warning(
            "%s: weights of pre-training without fine-tuning, but the published run of this configuration (mAP %g) "
            "started from fine-tuned ones; expect less. The fine-tuned weights: %s",
            config.weights,
            config.published,
            config.weights_from,
        )


def initial_shapes(model: AdaTAD, config: Config) -> Params:
    """Returns the tree that a run starts with as shapes and dtypes; weights that are there may bring positions.

    Raises:
      UserError: the weights cannot be read.
    """
    shapes = parameter_shapes(model, config)
    weights = Path(config.weights)
    if config.weights and weights.exists():
        found = read_weights(weights, config.weights_step)
        brought = found.params["backbone"] if isinstance(found, WholeDetector) else found.params
        if "pos_embed" in brought:
            shapes["backbone"]["pos_embed"] = jax.ShapeDtypeStruct(brought["pos_embed"].shape, jnp.float32)
    return shapes


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
