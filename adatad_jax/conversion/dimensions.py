"""The dimensions of an AdaTAD detector, read off the names and shapes of its tensors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adatad_jax.conversion.layout import BACKBONE_PREFIX
from adatad_jax.errors import UserError
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.models.sizes import CHUNK_TUBELETS, IMAGE_SIZE, SIZES, DetectorConfig, ViTConfig

POSITIONS = f"{BACKBONE_PREFIX}pos_embed"


@dataclass(frozen=True)
class Shown:
    """The dimensions that a detector file shows.

    Attributes:
      size: the backbone's name in `SIZES`, or "custom".
      backbone: dimensions of the backbone. Two of them no file shows: the number of attention heads is taken from the
        published size of the same width, and side adapters are assumed to belong to the last blocks.
      has_positions: whether the file has a position table, which shows `backbone.image_size`; without the table, the
        image size is assumed to be 224 pixels.
      width, embed, stem, branch, head_convs, classes: as in `DetectorConfig`.
    """

    size: str
    backbone: ViTConfig
    has_positions: bool
    width: int
    embed: int
    stem: int
    branch: int
    head_convs: int
    classes: int

    def model(self) -> AdaTAD:
        """Makes a model with tensors of these shapes; windows, ranges and lengths, which no file shows, are made up."""
        levels = self.branch + 1
        return AdaTAD(
            self.backbone,
            DetectorConfig(
                classes=self.classes,
                width=self.width,
                heads=1,
                embed=self.embed,
                stem=self.stem,
                branch=self.branch,
                windows=(None,) * levels,
                absolute_positions=False,
                max_length=2**self.branch,
                head_convs=self.head_convs,
                regression_ranges=((0.0, 1.0),) * levels,
                drop_path=0.0,
                dropout=0.0,
                input_dropout=0.0,
            ),
        )

    def __str__(self) -> str:
        """Describes the dimensions for the conversion summary, in two lines."""
        vit = self.backbone
        return (
            f"size {self.size}: {backbone_words(vit)}, pre-trained on {vit.image_size} px"
            f"{'' if self.has_positions else ' (assumed)'}; {adapters_words(vit)}\n"
            f"  detector of width {self.width}: {self.embed} embedding convolutions, {self.stem} stem and "
            f"{self.branch} branch blocks ({self.branch + 1} levels), {self.head_convs} convolutions per tower, "
            f"{self.classes} class{'es' * (self.classes != 1)}"
        )


def read_dimensions(state: Mapping[str, np.ndarray], source: Path) -> Shown:
    """Reads the dimensions of a detector off the names and shapes of its tensors.

    Args:
      state: tensor by name.
      source: the file, for messages.

    Raises:
      UserError: tensors that show a dimension are missing, their numbering has gaps, or they contradict each other.
    """
    shows = {
        f"{BACKBONE_PREFIX}patch_embed.projection.weight": 5,
        f"{BACKBONE_PREFIX}blocks.0.mlp.layers.0.0.weight": 2,
        "projection.embed.0.conv.weight": 3,
        "rpn_head.cls_head.weight": 3,
    }
    absent = [key for key, rank in shows.items() if key not in state or state[key].ndim != rank]
    if absent:
        some = ", ".join(list(state)[:5])
        raise UserError(
            f"{source}: not a whole AdaTAD detector: {', '.join(absent)} missing, or of another rank. It holds "
            f"{len(state)} tensors: {some}, ..."
        )
    patch_embed, mlp, embed, classes = (state[key].shape for key in shows)
    vit = _backbone(state, patch_embed[0], patch_embed[4], mlp[0], source)
    return Shown(
        size=next((name for name, known in SIZES.items() if backbone_size(known) == backbone_size(vit)), "custom"),
        backbone=vit,
        has_positions=POSITIONS in state,
        width=embed[0],
        embed=_count(state, "projection.embed.", source),
        stem=_count(state, "projection.stem.", source),
        branch=_count(state, "projection.branch.", source),
        head_convs=_count(state, "rpn_head.cls_convs.", source),
        classes=classes[0],
    )


def _backbone(state: Mapping[str, np.ndarray], width: int, patch: int, mlp_hidden: int, source: Path) -> ViTConfig:
    """Returns the dimensions of the backbone; those that are not arguments come from the other tensors."""
    blocks, side_adapters = f"{BACKBONE_PREFIX}blocks.", f"{BACKBONE_PREFIX}ladders.adapters."
    depth, beside = _count(state, blocks, source), _count(state, side_adapters, source)
    inside = _numbers(state, blocks, "adapter.")
    if (inside and beside) or beside > depth:
        raise UserError(
            f"{source}: adapters in blocks {inside} and {beside} side adapters, in a backbone of {depth} blocks; "
            "expected one kind of adapters, at most one per block"
        )
    hidden = [state[key].shape[0] for key in state if key.endswith("down_proj.weight") and state[key].ndim]
    return ViTConfig(
        width=width,
        depth=depth,
        heads=next((known.heads for known in SIZES.values() if known.width == width), 1),
        mlp_hidden=mlp_hidden,
        patch=patch,
        image_size=_image_size(state, width, patch, source),
        tia_blocks=tuple(inside or range(depth - beside, depth)),
        tia_hidden=hidden[0] if hidden else 1,
        side=bool(beside),
    )


def _count(state: Mapping[str, np.ndarray], before: str, source: Path) -> int:
    """Returns how many numbers follow `before` in the names; raises `UserError` if they are not 0, 1, ... in a row."""
    found = _numbers(state, before)
    if found != list(range(len(found))):
        raise UserError(
            f"{source}: expected {before}0, {before}1, ... without gaps, found the numbers "
            f"{', '.join(map(str, found))}: tensors are missing, or do not belong here"
        )
    return len(found)


def _numbers(state: Mapping[str, np.ndarray], before: str, after: str = "") -> list[int]:
    """Returns the numbers, ascending, that stand between `before` and `.` + `after` in the names."""
    pattern = rf"{re.escape(before)}(\d+)\.{re.escape(after)}"
    return sorted({int(match[1]) for key in state if (match := re.match(pattern, key))})


def _image_size(state: Mapping[str, np.ndarray], width: int, patch: int, source: Path) -> int:
    """Returns the side of the pre-training frames, in pixels, from the position table; 224 without a table."""
    if POSITIONS not in state:
        return IMAGE_SIZE
    shape = state[POSITIONS].shape
    grid = round((shape[1] / CHUNK_TUBELETS) ** 0.5) if len(shape) == 3 else 0
    if shape != (1, CHUNK_TUBELETS * grid * grid, width) or not grid:
        raise UserError(f"{source}: {POSITIONS} is {shape}, expected (1, {CHUNK_TUBELETS} * grid * grid, {width})")
    return grid * patch


def backbone_size(vit: ViTConfig) -> tuple[int, int, int, int]:
    """Returns the dimensions that tell the sizes apart: width, depth, MLP size and patch side."""
    return vit.width, vit.depth, vit.mlp_hidden, vit.patch


def backbone_words(vit: ViTConfig) -> str:
    """Describes a backbone's dimensions for messages."""
    return f"width {vit.width}, depth {vit.depth}, MLP {vit.mlp_hidden}, patch {vit.patch}"


def adapters_words(vit: ViTConfig) -> str:
    """Describes a backbone's adapters for messages."""
    if not vit.tia_blocks:
        return "no adapters"
    kind = "TIA" if vit.temporal else "plain adapters"
    where = f"{len(vit.tia_blocks)} side adapters" if vit.side else f"{kind} in blocks {_ranges(vit.tia_blocks)}"
    return f"{where}, hidden {vit.tia_hidden}"


def _ranges(blocks: tuple[int, ...]) -> str:
    """Formats ascending numbers as `config.model.tia_blocks` takes them: `0,2,20-39`."""
    firsts = [block for block in blocks if block - 1 not in blocks]
    lasts = [block for block in blocks if block + 1 not in blocks]
    return ",".join(f"{a}-{b}" if a < b else str(a) for a, b in zip(firsts, lasts, strict=True))
