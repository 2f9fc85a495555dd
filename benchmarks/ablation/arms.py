"""The arms of the ablation: what each changes in the demo's configuration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.traverse_util
import jax
import jax.numpy as jnp

from adatad_jax.config.build import make_vit
from adatad_jax.config.fields import Config
from adatad_jax.conversion.layout import backbone_leaves
from adatad_jax.conversion.torch_file import write_tensors
from adatad_jax.models.backbone import Backbone
from adatad_jax.models.sizes import CHUNK_FRAMES

BACKBONE_SHARE = 0.1  # of the detector's learning rate, in full fine-tuning, as in the published runs
# Nothing is recomputed, so that time and memory of the arms do not depend on what the machine has free.
SAME_FOR_ALL: Mapping[str, Any] = {"model.remat": False, "model.attention_chunks": 0, "model.mlp_chunks": 0}


class Arm(NamedTuple):
    """A way to adapt the backbone.

    Attributes:
      name: in tables.
      adaptation: as `model.adaptation`.
      is_trained: whether the backbone starts from the demo's weights; if not, from random ones.
    """

    name: str
    adaptation: str
    is_trained: bool = True


ARMS = {
    "frozen": Arm("frozen backbone", "frozen"),
    "adapter": Arm("plain adapters", "adapter"),
    "tia": Arm("TIA", "tia"),
    "side": Arm("side adapters", "side"),
    "full": Arm("full fine-tuning", "full"),
    "untrained": Arm("TIA, untrained backbone", "tia", is_trained=False),
}


def arm_config(demo: Config, arm: Arm, folder: Path) -> Config:
    """Returns the configuration of an arm.

    Args:
      demo: the demo's, of a seed.
      arm: of `ARMS`.
      folder: of the seed; random weights are written there, if the arm needs them and they are missing.
    """
    fields = {
        **SAME_FOR_ALL,
        "model.adaptation": arm.adaptation,
        "train.backbone_rate": BACKBONE_SHARE * demo.train.head_rate,
    }
    if not arm.is_trained:
        weights = folder / "untrained.safetensors"
        if not weights.exists():
            write_untrained(weights, demo)
        fields["weights"] = str(weights)
    return demo.with_fields(fields)


def write_untrained(path: Path, config: Config) -> None:
    """Writes a backbone as it is before any training: its linear layers are uniform in +-1/sqrt(inputs).

    Args:
      path: a `.safetensors` file, in mmaction's names.
      config: of the backbone's size and of the draws' seed.
    """
    vit = make_vit(config.with_fields({"model.adaptation": "frozen"}).model)
    frames = jnp.zeros((1, CHUNK_FRAMES, vit.image_size, vit.image_size, 3), jnp.uint8)
    # As one function, of which XLA drops the forward pass.
    draw = jax.jit(lambda key: Backbone(vit).init(key, frames)["params"])
    leaves = flax.traverse_util.flatten_dict(jax.device_get(draw(jax.random.key(config.seed))))
    tensors = {
        f"backbone.{key}": value
        for leaf in backbone_leaves(vit)
        for key, value in leaf.write(leaves[leaf.path]).items()
    }
    write_tensors(path, tensors)
