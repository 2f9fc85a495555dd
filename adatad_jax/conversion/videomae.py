"""A VideoMAE checkpoint in mmaction layout to the backbone's frozen parameters, every tensor accounted for."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from adatad_jax.conversion.layout import Leaf, backbone_leaves
from adatad_jax.errors import UserError
from adatad_jax.models.positions import sinusoid_table
from adatad_jax.models.sizes import CHUNK_FRAMES, CHUNK_TUBELETS, SIZES, ViTConfig
from adatad_jax.models.vit import VisionTransformer

Params = dict  # nested, string keys, array leaves

POSITION_TOLERANCE = 1e-6
LEFT_OUT = {
    "fc_norm.weight": "norm of the classifier; the detector reads the map after the last block",
    "fc_norm.bias": "norm of the classifier; the detector reads the map after the last block",
    "cls_head.fc_cls.weight": "classifier of the pre-training",
    "cls_head.fc_cls.bias": "classifier of the pre-training",
}
ADAPTER_TENSORS = 9  # gamma, and weight and bias of down, depthwise, pointwise, up


@dataclass(frozen=True)
class Backbone:
    """A converted backbone and what became of each tensor.

    Attributes:
      params: frozen parameters of a `VisionTransformer` without adapters: all blocks in one stack.
      size: the name in `SIZES`, or "custom".
      config: the dimensions the file shows. Its heads are those of the named size: the file does not show them.
      read, mapped: numbers of tensors in the file and of those used.
      left_out: tensor -> why it is not used.
    """

    params: Params
    size: str
    config: ViTConfig
    read: int
    mapped: int
    left_out: dict[str, str]

    def account(self) -> str:
        """The conversion in words, for a terminal."""
        dims = self.config
        lines = [
            f"layout  mmaction VideoMAE, size {self.size}: width {dims.width}, depth {dims.depth}, "
            f"MLP {dims.mlp_hidden}, patch {dims.patch}, pre-trained on {dims.image_size} px",
            f"read    {self.read} tensors",
            f"mapped  {self.mapped} tensors, {count_parameters(self.params):,} parameters",
            f"left out {len(self.left_out)}:",
            *(f"  {key}: {reason}" for key, reason in self.left_out.items()),
            f"not in the file: TIA adapters, {ADAPTER_TENSORS} tensors a block ({ADAPTER_TENSORS * dims.depth} in all "
            f"{dims.depth} blocks): initialised, as is the detector, when training starts",
        ]
        return "\n".join(lines)


def count_parameters(params: Params) -> int:
    """Number of scalars in a tree."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))


def convert_videomae(state: Mapping[str, np.ndarray], source: Path) -> Backbone:
    """Converts the tensors of a checkpoint.

    Args:
      state: name -> tensor, as `torch_file.load_state_dict` gives.
      source: the file, for messages.

    Raises:
      UserError: listing every missing tensor, every one of a wrong shape and every unknown one at once.
    """
    state = {key.removeprefix("backbone."): np.asarray(value) for key, value in state.items()}
    config = _dimensions(state, source)
    size = next((name for name, known in SIZES.items() if _same_shapes(known, config)), "custom")
    params, mapped = assemble(backbone_leaves(config), parameter_shapes(config), state, source, allowed=LEFT_OUT)
    left_out = {key: reason for key, reason in LEFT_OUT.items() if key in state}
    if "pos_embed" in state:
        file_table = state["pos_embed"].reshape(-1, config.width)
        apart = float(np.abs(file_table - sinusoid_table(*file_table.shape)).max())
        if apart <= POSITION_TOLERANCE:
            left_out["pos_embed"] = f"recomputed: the fixed sinusoid table, {apart:.1e} apart at most"
        else:
            params["pos_embed"] = np.asarray(file_table, np.float32)
            mapped += 1
    return Backbone(params, size, config, len(state), mapped, left_out)


def assemble(
    leaves: Iterable[Leaf],
    shapes: Mapping[tuple[str, ...], tuple[int, ...]],
    state: Mapping[str, np.ndarray],
    source: Path,
    allowed: Iterable[str] = (),
) -> tuple[Params, int]:
    """Builds the parameter tree of `leaves` from torch tensors.

    Args:
      leaves: what to build.
      shapes: path -> shape that the model expects, for every leaf.
      state: the torch tensors.
      source: the file, for messages.
      allowed: tensors that may be there and are not used, next to `pos_embed`.

    Returns:
      The tree, float32, and the number of tensors used.

    Raises:
      UserError: listing every tensor that is missing, has a wrong shape, or is unknown.
    """
    leaves = list(leaves)
    used = [key for leaf in leaves for key in leaf.keys]
    problems = [f"missing: {key}" for key in used if key not in state]
    for leaf in leaves:
        expected = leaf.torch_shape(shapes[leaf.path])
        problems += [
            f"wrong shape: {key} is {tuple(state[key].shape)}, expected {expected}"
            for key in leaf.keys
            if key in state and tuple(state[key].shape) != expected
        ]
    known = {*used, *allowed, "pos_embed"}
    problems += [f"unknown: {key} {tuple(value.shape)}" for key, value in state.items() if key not in known]
    if problems:
        raise UserError(
            f"{source}: {len(problems)} tensors do not fit a VideoMAE backbone in mmaction layout:\n  "
            + "\n  ".join(problems)
        )
    tree = flax.traverse_util.unflatten_dict({leaf.path: leaf.read(state) for leaf in leaves})
    return tree, len(used)


def parameter_shapes(config: ViTConfig) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Path -> shape of every leaf of a backbone of these dimensions."""
    frames = jax.ShapeDtypeStruct((1, CHUNK_FRAMES, config.image_size, config.image_size, 3), jnp.uint8)
    shapes = jax.eval_shape(VisionTransformer(config).init, jax.random.key(0), frames)["params"]
    return {path: leaf.shape for path, leaf in flax.traverse_util.flatten_dict(shapes).items()}


def _same_shapes(a: ViTConfig, b: ViTConfig) -> bool:
    return (a.width, a.depth, a.mlp_hidden, a.patch) == (b.width, b.depth, b.mlp_hidden, b.patch)


def _dimensions(state: Mapping[str, np.ndarray], source: Path) -> ViTConfig:
    """Reads width, depth, MLP and patch off the tensors that show them."""
    shows = {"patch_embed.projection.weight": 5, "blocks.0.mlp.layers.0.0.weight": 2}
    absent = [key for key, rank in shows.items() if key not in state or state[key].ndim != rank]
    if absent:
        some = ", ".join(list(state)[:5])
        raise UserError(
            f"{source}: not a VideoMAE backbone in mmaction layout: {', '.join(absent)} not found (with or without "
            f"'backbone.' in front). It holds {len(state)} tensors: {some}, ..."
        )
    width, _, _, _, patch = state["patch_embed.projection.weight"].shape
    blocks = {int(match[1]) for key in state if (match := re.match(r"blocks\.(\d+)\.", key))}
    depth = max(blocks) + 1
    mlp_hidden = state["blocks.0.mlp.layers.0.0.weight"].shape[0]
    image_size = 224
    if "pos_embed" in state:
        table = state["pos_embed"]
        grid = round((table.size / (CHUNK_TUBELETS * width)) ** 0.5)
        if table.size != CHUNK_TUBELETS * grid * grid * width:
            raise UserError(
                f"{source}: pos_embed is {table.shape}, expected (1, {CHUNK_TUBELETS} * grid * grid, {width})"
            )
        image_size = grid * patch
    heads = next((known.heads for known in SIZES.values() if known.width == width), 1)
    return ViTConfig(width=width, depth=depth, heads=heads, mlp_hidden=mlp_hidden, patch=patch, image_size=image_size)
