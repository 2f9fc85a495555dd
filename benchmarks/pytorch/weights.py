"""Our parameters and gradients as tensors under the release's names."""

import flax.traverse_util
import numpy as np
import torch
from torch import Tensor

from adatad_jax.conversion.layout import BACKBONE_PREFIX, model_leaves
from adatad_jax.models.layers import Params
from adatad_jax.models.sizes import DetectorConfig, ViTConfig


def tensors(tree: Params, vit: ViTConfig, detector: DetectorConfig) -> dict[str, Tensor]:
    """Returns a tree of parameters, or a part of it such as gradients, as tensors float32 by name.

    Args:
      tree: of an `AdaTAD` of the package.
      vit, detector: its dimensions.
    """
    values = flax.traverse_util.flatten_dict(tree)
    found: dict[str, Tensor] = {}
    for leaf in model_leaves(vit, detector):
        if leaf.path in values:
            written = leaf.write(np.asarray(values[leaf.path], np.float32))
            for key, value in written.items():
                found[key.replace(BACKBONE_PREFIX, "backbone.")] = torch.from_numpy(np.array(value, order="C"))
    return found
