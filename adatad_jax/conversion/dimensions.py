"""What the tensors of a whole AdaTAD detector show of it, and whether a configuration agrees."""

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
      backbone: its dimensions. No file shows the heads (those of the named size stand in) or to which blocks side
        adapters belong (the last ones stand in).
      has_positions: whether its position table is there to show `backbone.image_size`; without, 224 stands in.
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
        """A model with these tensors; what no file shows (windows, ranges, lengths) is made up."""
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
        vit = self.backbone
        return (
            f"size {self.size}: {backbone_words(vit)}, pre-trained on {vit.image_size} px"
            f"{'' if self.has_positions else ' (assumed)'}; {adapters_words(vit)}\n"
            f"  detector of width {self.width}: {self.embed} embedding convolutions, {self.stem} stem and "
            f"{self.branch} branch blocks ({self.branch + 1} levels), {self.head_convs} convolutions a tower, "
            f"{self.classes} class{'es' * (self.classes != 1)}"
        )


def read_dimensions(state: Mapping[str, np.ndarray], source: Path) -> Shown:
    """Reads off the tensors' names and shapes what they determine.

    Raises:
      UserError: the tensors that show it are not there: this is no whole detector.
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
            f"{source}: not a whole AdaTAD detector: {', '.join(absent)} not found, or of other dimensions. It holds "
            f"{len(state)} tensors: {some}, ..."
        )
    patch_embed, mlp, embed, classes = (state[key].shape for key in shows)

    def numbers(before: str, after: str = "") -> list[int]:
        pattern = rf"{re.escape(before)}(\d+)\.{re.escape(after)}"
        return sorted({int(match[1]) for key in state if (match := re.match(pattern, key))})

    def count(before: str) -> int:
        found = numbers(before)
        if found != list(range(len(found))):
            raise UserError(
                f"{source}: of {before}0, {before}1, ... there are the numbers {', '.join(map(str, found))}: some are "
                "missing, or do not belong there"
            )
        return len(found)

    depth, beside = count(f"{BACKBONE_PREFIX}blocks."), count(f"{BACKBONE_PREFIX}ladders.adapters.")
    inside = numbers(f"{BACKBONE_PREFIX}blocks.", "adapter.")
    if (inside and beside) or beside > depth:
        raise UserError(f"{source}: adapters in blocks {inside} and {beside} beside a backbone of {depth} blocks")
    hidden = [state[key].shape[0] for key in state if key.endswith("down_proj.weight") and state[key].ndim]
    width, patch = patch_embed[0], patch_embed[4]
    named = next(
        (name for name, known in SIZES.items() if backbone_size(known) == (width, depth, mlp[0], patch)), "custom"
    )
    vit = ViTConfig(
        width=width,
        depth=depth,
        heads=next((known.heads for known in SIZES.values() if known.width == width), 1),
        mlp_hidden=mlp[0],
        patch=patch,
        image_size=_image_size(state, width, patch, source),
        tia_blocks=tuple(inside or range(depth - beside, depth)),
        tia_hidden=hidden[0] if hidden else 1,
        side=bool(beside),
    )
    return Shown(
        size=named,
        backbone=vit,
        has_positions=POSITIONS in state,
        width=embed[0],
        embed=count("projection.embed."),
        stem=count("projection.stem."),
        branch=count("projection.branch."),
        head_convs=count("rpn_head.cls_convs."),
        classes=classes[0],
    )


def _image_size(state: Mapping[str, np.ndarray], width: int, patch: int, source: Path) -> int:
    """Side of the pre-training frames, by the length of the position table; as published where there is no table."""
    if POSITIONS not in state:
        return IMAGE_SIZE
    shape = state[POSITIONS].shape
    grid = round((shape[1] / CHUNK_TUBELETS) ** 0.5) if len(shape) == 3 else 0
    if shape != (1, CHUNK_TUBELETS * grid * grid, width) or not grid:
        raise UserError(f"{source}: {POSITIONS} is {shape}, expected (1, {CHUNK_TUBELETS} * grid * grid, {width})")
    return grid * patch


def backbone_size(vit: ViTConfig) -> tuple[int, int, int, int]:
    return vit.width, vit.depth, vit.mlp_hidden, vit.patch


def backbone_words(vit: ViTConfig) -> str:
    return f"width {vit.width}, depth {vit.depth}, MLP {vit.mlp_hidden}, patch {vit.patch}"


def adapters_words(vit: ViTConfig) -> str:
    if not vit.tia_blocks:
        return "no adapters"
    where = f"{len(vit.tia_blocks)} side adapters" if vit.side else f"TIA in blocks {_ranges(vit.tia_blocks)}"
    return f"{where}, hidden {vit.tia_hidden}"


def _ranges(blocks: tuple[int, ...]) -> str:
    """Ascending numbers as `config.tia_blocks` takes them: `0,2,20-39`."""
    firsts = [block for block in blocks if block - 1 not in blocks]
    lasts = [block for block in blocks if block + 1 not in blocks]
    return ",".join(f"{a}-{b}" if a < b else str(a) for a, b in zip(firsts, lasts, strict=True))
