"""The backbone and the adapters of a trained detector, of whatever head, as weights for another training.

OpenTAD trains other heads than ActionFormer's on the same backbone. Their detectors cannot be converted. The backbone
in them can, and so can its adapters.
"""

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import flax.traverse_util
import jax.numpy as jnp
import numpy as np

from adatad_jax.conversion.layout import BACKBONE_PREFIX, Leaf, tia_leaves
from adatad_jax.conversion.torch_file import TensorFile
from adatad_jax.errors import UserError
from adatad_jax.models.layers import Params

# Name of a head, and a tensor that no other head has.
HEADS = (
    ("DyFADet", r"rpn_head\.(?:cls|reg)_convs\.\d+\.(?:depth_module|dynamic_convs)\."),
    ("TriDet", r"rpn_head\.cls_(?:start|end)_(?:convs|head)\."),
    ("VSGN", r"rpn_head\.(?:tem_head|cls_tower|reg_tower)\."),
    ("VideoMambaSuite", r"projection\.(?:stem|branch)\.\d+\.mamba\."),
    ("CausalTAD", r"projection\.(?:stem|branch)\.\d+\.block\."),
    ("TadTR", r"transformer\."),
    ("two-stage", r"roi_head\."),
)
DEPTHWISE_TAPS = 3  # of an adapter's temporal convolution
_OWN = re.compile(
    r"projection\.embed\.\d+\.(?:conv|norm)\.|projection\.(?:stem|branch)\.\d+\.(?:ln1|ln2|attn|mlp|drop_path_\w+)\."
    r"|neck\.fpn_norms\.|rpn_head\.(?:cls_convs|reg_convs|cls_head|reg_head|scale|loss_normalizer)\b"
)
_INSIDE, _SIDE = r"blocks\.(\d+)\.adapter\.", r"ladders\.adapters\.(\d+)\."
_ADAPTERS = re.compile(re.escape(BACKBONE_PREFIX) + f"(?:{_INSIDE}|{_SIDE})")
_BLOCK = re.compile(re.escape(BACKBONE_PREFIX) + r"blocks\.(\d+)\.")


class Adapters(NamedTuple):
    """The adapters of a backbone.

    Attributes:
      params: leaves of `tia`, of all adapters, stacked by rising block, float32.
      blocks: the blocks that have one.
      side: whether they are beside the backbone. No file shows their blocks then; they are taken for the last ones.
      hidden: their inner width.
      temporal: whether they have their temporal convolution, as all in files of the release have.
    """

    params: Params
    blocks: tuple[int, ...]
    side: bool
    hidden: int
    temporal: bool = True


def other_head(keys: Collection[str]) -> str | None:
    """Names the head of a detector on an AdaTAD backbone that is not AdaTAD's own; None for every other file.

    Args:
      keys: names of the tensors.

    Returns:
      What the detector is, such as "a TriDet detector".
    """
    beside = [key for key in keys if not key.startswith(("backbone.", "cls_head.", "model.cls_head."))]
    if not beside or not any(key.startswith(BACKBONE_PREFIX) for key in keys):
        return None
    for name, pattern in HEADS:
        if any(re.match(pattern, key) for key in beside):
            return f"a {name} detector"
    if 2 * sum(bool(_OWN.match(key)) for key in beside) < len(beside):
        return "a detector of an unknown head"
    # The levels of the pyramid come from branch blocks, except in TemporalMaxer, where pooling has no parameters.
    pooled = "rpn_head.scale.1.scale" in keys and not any(key.startswith("projection.branch.") for key in beside)
    return "a TemporalMaxer detector" if pooled else None


class Taken(NamedTuple):
    """What was taken out of a detector's file.

    Attributes:
      file: the backbone alone, as a file's tensors.
      adapters: None if the detector has none.
      note: what was taken, and what was left out.
    """

    file: TensorFile
    adapters: Adapters | None
    note: str


def take_backbone(file: TensorFile) -> Taken:
    """Takes the backbone and the adapters out of a detector's file; averages, if it has them, as these are evaluated.

    Raises:
      UserError: the file has no AdaTAD backbone, or its adapters are not whole.
    """
    state = file.averaged or file.tensors
    if not any(key.startswith(BACKBONE_PREFIX) for key in state):
        raise UserError(
            f"{file.path}: not a detector on an AdaTAD backbone ({BACKBONE_PREFIX}*): --backbone-only has nothing to "
            "take; leave it out for a backbone alone"
        )
    adapted = {key for key in state if _ADAPTERS.match(key)}
    backbone = {key: value for key, value in state.items() if key.startswith("backbone.") and key not in adapted}
    alone = dataclasses.replace(file, tensors=backbone, averaged={}, record={})
    averages = ", and the averages of its backbone" if file.averaged else ""
    note = (
        f"taken from {other_head(state) or 'an AdaTAD detector'}{averages}; its other "
        f"{len(state) - len(backbone) - len(adapted)} tensors are left out"
    )
    return Taken(alone, _adapters(file, adapted) if adapted else None, note)


def _adapters(file: TensorFile, keys: set[str]) -> Adapters:
    """Assembles the adapters of a file."""
    state = file.averaged or file.tensors
    matches = [match for key in keys if (match := _ADAPTERS.match(key))]
    prefixes = {int(match[1] or match[2]): match[0] for match in matches}
    sides = {match[2] is not None for match in matches}
    blocks = sorted({int(match[1]) for key in state if (match := _BLOCK.match(key))})
    places = sorted(prefixes)
    if len(sides) > 1 or len(places) > len(blocks):
        raise UserError(f"{file.path}: {len(keys)} tensors of adapters of two kinds; expected one kind, one per block")
    side = sides.pop()
    leaves = list(tia_leaves((), tuple(prefixes[place] for place in places)))
    down = state.get(f"{prefixes[places[0]]}down_proj.weight")
    hidden, width = down.shape if down is not None and down.ndim == 2 else (0, 0)
    if lines := _problems(leaves, keys, state, hidden, width):
        raise UserError(f"{file.path}: its adapters are not whole, {len(lines)} tensors:\n  " + "\n  ".join(lines))
    tree = flax.traverse_util.unflatten_dict({leaf.path[1:]: leaf.read(state) for leaf in leaves})
    return Adapters(tree, tuple(blocks[-len(places) :] if side else places), side, hidden)


def _problems(
    leaves: Sequence[Leaf], keys: set[str], state: Mapping[str, np.ndarray], hidden: int, width: int
) -> list[str]:
    """Returns a line for every tensor of an adapter that is missing, unknown, or of a wrong shape or type."""
    shapes: dict[tuple[str, ...], tuple[int, ...]] = {
        ("gamma",): (),
        ("down", "kernel"): (width, hidden),
        ("down", "bias"): (hidden,),
        ("depthwise", "kernel"): (DEPTHWISE_TAPS, 1, hidden),
        ("depthwise", "bias"): (hidden,),
        ("pointwise", "kernel"): (hidden, hidden),
        ("pointwise", "bias"): (hidden,),
        ("up", "kernel"): (hidden, width),
        ("up", "bias"): (width,),
    }
    expected = {key: leaf.torch_shape((len(leaf.keys), *shapes[leaf.path[1:]])) for leaf in leaves for key in leaf.keys}
    lines = [f"missing: {key}" for key in expected if key not in keys]
    lines += [f"unknown: {key}" for key in sorted(keys - expected.keys())]
    for key in sorted(keys & expected.keys()):
        if state[key].shape != expected[key]:
            lines.append(f"wrong shape: {key} is {state[key].shape}, expected {expected[key]}")
        elif not jnp.issubdtype(state[key].dtype, jnp.floating):
            lines.append(f"wrong type: {key} is {state[key].dtype}, expected floating point")
    return lines
