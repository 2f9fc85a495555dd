"""The dimensions that a detector's tensors show, and all fields of a configuration that disagree with them."""

import re
from pathlib import Path

import numpy as np
import pytest

from adatad_jax.config.fields import Config
from adatad_jax.conversion.dimensions import read_dimensions
from adatad_jax.errors import UserError
from adatad_jax.weights.choose_config import misfits
from tests.conversion.release_detectors import BACKBONE, Release, shapes_alone

TIA = Release(adapters=(0, 1, 2))
SOURCE = Path("detector.pth")


@pytest.mark.parametrize(
    ("release", "size", "blocks"),
    [
        (TIA, "tiny", (0, 1, 2)),
        (Release(adapters=(0, 2), hidden=8, classes=65, convs=1, stem=0, embed=3), "tiny", (0, 2)),
        (Release(side_adapters=2), "tiny", (1, 2)),
        (Release(depth=4), "custom", ()),
        (
            Release(width=1408, depth=40, mlp=6144, patch=14, grid=16, adapters=tuple(range(20, 40)), branch=9),
            "g",
            tuple(range(20, 40)),
        ),
    ],
)
def test_dimensions_are_read_off(release: Release, size: str, blocks: tuple[int, ...]) -> None:
    shown = read_dimensions(shapes_alone(release), SOURCE)
    vit = shown.backbone
    assert shown.size == size
    assert (vit.width, vit.depth, vit.mlp_hidden, vit.patch) == (
        release.width,
        release.depth,
        release.mlp,
        release.patch,
    )
    assert (vit.tia_blocks, vit.side, vit.image_size) == (
        blocks,
        bool(release.side_adapters),
        release.grid * release.patch,
    )
    assert not blocks or vit.tia_hidden == release.hidden
    assert (shown.width, shown.embed, shown.stem, shown.branch, shown.head_convs, shown.classes) == (
        release.detector,
        release.embed,
        release.stem,
        release.branch,
        release.convs,
        release.classes,
    )


def test_heads_follow_from_the_width() -> None:
    """Expects the heads of the published sizes, which no tensor shows."""
    sizes = {384: (12, 6), 768: (12, 12), 1024: (24, 16), 1280: (32, 16), 1408: (40, 16)}
    for width, (depth, heads) in sizes.items():
        mlp = 6144 if width == 1408 else 4 * width
        release = Release(width=width, depth=depth, mlp=mlp, patch=14 if width == 1408 else 16)
        assert read_dimensions(shapes_alone(release), SOURCE).backbone.heads == heads


def test_without_positions_any_image_size_fits() -> None:
    """Removes the only tensor that shows the image size."""
    state = shapes_alone(TIA)
    del state[f"{BACKBONE}pos_embed"]
    shown = read_dimensions(state, SOURCE)
    assert re.search(r"\b224 px \(assumed\)", str(shown))
    [line] = misfits(shown, TIA.config(), 1)
    assert re.search(r"^config\.data\.class_agnostic=True\b.*\b1\b.*\b3 classes$", line)


@pytest.mark.parametrize(
    ("stray", "numbers"),
    [
        (f"{BACKBONE}blocks.99999999.norm1.weight", r"blocks\.0, .* 0, 1, 2, 99999999\b"),
        ("projection.stem.2.ln1.weight", r"projection\.stem\.0, .* 0, 2\b"),
        ("rpn_head.cls_convs.7.norm.bias", r"rpn_head\.cls_convs\.0, .* 0, 1, 7\b"),
    ],
)
def test_gaps_in_the_numbers_are_no_depth(stray: str, numbers: str) -> None:
    with pytest.raises(UserError, match=numbers):
        read_dimensions({**shapes_alone(TIA), stray: np.zeros(3, np.float32)}, SOURCE)


def test_every_field_that_disagrees_is_listed() -> None:
    shown = read_dimensions(shapes_alone(Release(adapters=(0, 2), stem=0, embed=3, convs=1)), SOURCE)
    lines = misfits(shown, Config(), classes=20)
    fields = [line.partition("=")[0] for line in lines]
    assert fields == [
        "config.model.size",
        "config.model.image_size",
        "config.model.tia_blocks",
        "config.model.tia_ratio",
        "config.model.width",
        "config.model.embed",
        "config.model.stem",
        "config.model.branch",
        "config.model.head_convs",
        "config.data.classes",
    ]
    assert re.search(r"^config\.model\.size='S': .*\btiny \(width 64, depth 3, MLP 256, patch 16\)$", lines[0])
    assert re.search(r"^config\.model\.tia_blocks='all': .*\bblocks 0,2\b.*\bhidden 16$", lines[2])
    assert re.search(r"^config\.data\.classes='' .*\b20\b.*\b3 classes$", lines[-1])


@pytest.mark.parametrize(
    ("release", "adaptation", "words"),
    [
        (TIA, "side", "TIA in blocks 0-2"),
        (TIA, "frozen", "TIA in blocks 0-2"),
        (TIA, "adapter", "TIA in blocks 0-2"),
        (Release(), "tia", "no adapters"),
        (Release(side_adapters=2), "full", "2 side adapters"),
        (Release(side_adapters=2), "tia", "2 side adapters"),
    ],
)
def test_another_adaptation_is_a_misfit(release: Release, adaptation: str, words: str) -> None:
    config = release.config(Path("labels.txt"))
    assert misfits(read_dimensions(shapes_alone(release), SOURCE), config, 3) == []
    config = config.with_fields(
        {"model.adaptation": adaptation, "model.tia_blocks": "0-1" if release.side_adapters else "all"}
    )
    (line,) = misfits(read_dimensions(shapes_alone(release), SOURCE), config, 3)
    assert re.search(rf"^config\.model\.adaptation={adaptation!r}: .*\b{words}\b", line)


def test_what_is_no_whole_detector_is_refused() -> None:
    state = shapes_alone(TIA)
    del state["rpn_head.cls_head.weight"]
    with pytest.raises(UserError, match=r"^detector\.pth: not a whole AdaTAD detector: rpn_head\.cls_head\.weight "):
        read_dimensions(state, SOURCE)
    both = shapes_alone(Release(adapters=(1,), side_adapters=1))
    with pytest.raises(UserError, match=r"^detector\.pth: adapters in blocks \[1\].*\b1 side adapters\b.*\b3 blocks\b"):
        read_dimensions(both, SOURCE)
    table = {**shapes_alone(TIA), f"{BACKBONE}pos_embed": np.zeros((1, 33, 64), np.float32)}
    with pytest.raises(UserError, match=r"pos_embed\b.* \(1, 33, 64\), expected \(1, 8 "):
        read_dimensions(table, SOURCE)
