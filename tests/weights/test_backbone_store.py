"""Converted backbones on disk, and their insertion into a model."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest

from adatad_jax.conversion.torch_file import read_tensors, write_tensors
from adatad_jax.conversion.videomae import convert_backbone
from adatad_jax.errors import UserError
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.models.sizes import SIZES, ViTConfig
from adatad_jax.weights.backbone_store import LoadedBackbone, insert_backbone, load_backbone, save_backbone
from adatad_jax.weights.convert_file import convert_file
from tests import records
from tests.conversion import live_models
from tests.tiny_videomae import videomae_state

TINY = SIZES["tiny"]


@pytest.fixture
def tiny_file(tmp_path: Path) -> Path:
    state: dict[str, np.ndarray] = videomae_state(seed=0)
    state["cls_head.fc_cls.bias"] = np.array([0x3F81, 0x8000], np.uint16).view(ml_dtypes.bfloat16)
    path = tmp_path / "tiny.pth"
    write_tensors(path, state)
    return path


@pytest.fixture
def folder(tiny_file: Path, tmp_path: Path) -> Path:
    save_backbone(tmp_path / "folder", convert_backbone(read_tensors(tiny_file)))
    return tmp_path / "folder"


def init(vit: ViTConfig) -> dict[str, Any]:
    """Draws random parameters of a model."""
    model = AdaTAD(vit, records.detector_config(2, width=16, heads=2, max_length=32))
    frames, mask = np.zeros((1, 16, 32, 32, 3), np.uint8), np.ones((1, 16), bool)
    shapes = jax.eval_shape(model.init, jax.random.key(0), frames, mask)["params"]
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), shapes)


def test_file_and_folder_give_the_same(tiny_file: Path, folder: Path) -> None:
    from_file, from_folder = load_backbone(tiny_file), load_backbone(folder)
    jax.tree.map(np.testing.assert_array_equal, from_file.params, from_folder.params)
    for field in ("summary", "norm_eps", "heads", "image_size"):
        assert getattr(from_file, field) == getattr(from_folder, field)
    assert (from_folder.norm_eps, from_folder.heads, from_folder.image_size) == (1e-6, 2, 224)
    assert sorted(from_file.unused) == sorted(from_folder.unused) != []
    for key, value in from_file.unused.items():
        kept = from_folder.unused[key]
        assert (kept.dtype, kept.shape, kept.tobytes()) == (value.dtype, value.shape, value.tobytes())
    assert from_folder.unused["cls_head.fc_cls.bias"].dtype == ml_dtypes.bfloat16
    with pytest.raises(UserError, match=r"/folder: .*\bexists\b"):
        save_backbone(folder, convert_backbone(read_tensors(tiny_file)))


def test_hugging_face_directories_are_read(tmp_path: Path) -> None:
    live_models.make("model").save_pretrained(tmp_path / "theirs")
    live = load_backbone(tmp_path / "theirs")
    assert (live.norm_eps, live.heads, live.image_size, live.unused) == (1e-12, 6, 32, {})
    save_backbone(tmp_path / "ours", convert_backbone(read_tensors(tmp_path / "theirs")))
    ours = load_backbone(tmp_path / "ours")
    jax.tree.map(np.testing.assert_array_equal, live.params, ours.params)
    assert (ours.norm_eps, ours.heads, ours.image_size, ours.unused) == (1e-12, 6, 32, {})


def test_a_folder_needs_no_torch(folder: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path; from adatad_jax.weights.backbone_store import load_backbone\n"
        f"print(len(load_backbone(Path({str(folder)!r})).unused))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "4\n"


@pytest.mark.parametrize("loss", ["params", "params/_METADATA", "conversion.json", "passengers.safetensors"])
def test_damaged_folders_are_named(loss: str, folder: Path) -> None:
    path = folder / loss
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UserError, match=r"/folder: .*(\bdamaged\b|params/.*conversion\.json)"):
        load_backbone(folder)


def test_folders_of_another_kind_are_named(folder: Path, tmp_path: Path) -> None:
    record = json.loads((folder / "conversion.json").read_text())
    del record["norm_eps"]
    (folder / "conversion.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"/folder: .*'norm_eps'.*\bconvert\b"):
        load_backbone(folder)
    (folder / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"/folder: .*\bdetector\b.*--checkpoint"):
        load_backbone(folder)
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=r"/none: .*params/.*conversion\.json"):
        load_backbone(tmp_path / "none")


@pytest.mark.parametrize("side", [False, True])
def test_blocks_are_dealt_to_the_runs_of_the_model(side: bool, tiny_file: Path) -> None:
    """With an adapter in block 1 of 3 only, there are three stacks of one block."""
    backbone = load_backbone(tiny_file)
    vit = dataclasses.replace(TINY, tia_blocks=(1,), tia_hidden=16, side=side)
    params = init(vit)
    merged = insert_backbone(params, backbone, vit, tiny_file)
    dealt = [name for name in sorted(merged["backbone"]) if name.startswith("blocks_")]
    assert dealt == sorted(name for name in params["backbone"] if name.startswith("blocks_"))
    assert dealt[:2] == ["blocks_0_0", "blocks_1_1"]
    for name in dealt:
        jax.tree.map(
            lambda all_blocks, one, block=int(name[-1]): np.testing.assert_array_equal(all_blocks[block], one[0]),
            backbone.params["blocks_0_2"],
            {k: v for k, v in merged["backbone"][name].items() if k != "tia"},
        )
    adapter = params["backbone"]["blocks_1_1"]["tia"]
    jax.tree.map(np.testing.assert_array_equal, merged["backbone"]["blocks_1_1"]["tia"], adapter)
    # The file's own positions came along.
    np.testing.assert_array_equal(merged["backbone"]["pos_embed"], backbone.params["pos_embed"])


def test_a_model_without_adapters_is_the_backbone(tiny_file: Path) -> None:
    backbone = load_backbone(tiny_file)
    merged = insert_backbone(init(TINY), backbone, TINY, tiny_file)
    jax.tree.map(np.testing.assert_array_equal, merged["backbone"], backbone.params)


def test_weights_of_another_size_are_refused_with_every_leaf(tiny_file: Path) -> None:
    deeper = ViTConfig(width=32, depth=4, heads=2, mlp_hidden=128)
    with pytest.raises(UserError) as caught:
        insert_backbone(init(deeper), load_backbone(tiny_file), deeper, tiny_file)
    message = str(caught.value)
    assert re.search(r"\bdepth: .*\b3\b.*\b4\b", message)
    assert re.search(r"patch_embed/bias: .*\(64,\).*\(32,\)", message)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("norm_eps", 1e-12, r"\b1e-06\b.*\b1e-12\b.*--config\.model\.norm_eps=1e-06$"),
        ("image_size", 112, r"\b224\b.*\b112\b.*--config\.model\.image_size=224$"),
        ("heads", 4, r"\b2\b.*\b4$"),
    ],
)
def test_what_no_shape_shows_is_compared(field: str, value: float, message: str, tiny_file: Path) -> None:
    vit = dataclasses.replace(TINY, **{field: value})
    backbone = load_backbone(tiny_file)
    with pytest.raises(UserError) as caught:
        insert_backbone(init(vit), backbone, vit, tiny_file)
    assert re.search(rf"^ *{field}: .*{message}", str(caught.value), re.MULTILINE)
    if field == "heads":  # a file that does not show its heads fits any model
        unknown: LoadedBackbone = dataclasses.replace(backbone, heads=None)
        insert_backbone(init(vit), unknown, vit, tiny_file)


@pytest.mark.parametrize("kind", ["truncated", "nan", "one missing", "other network"])
def test_nothing_is_left_of_a_failed_conversion(kind: str, tiny_file: Path, tmp_path: Path) -> None:
    state = videomae_state(seed=0)
    if kind == "nan":
        state["backbone.blocks.1.norm1.bias"][0] = np.nan
    elif kind == "one missing":
        del state["backbone.blocks.1.norm1.bias"]
    elif kind == "other network":
        state = {"blocks.1.norm1.bias": np.zeros(3, np.float32)}
    path = tmp_path / "bad.pth"
    write_tensors(path, state)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(UserError, match=r"bad\.pth") as caught:
        convert_file(path, tmp_path / "out")
    assert kind == "truncated" or "blocks.1.norm1.bias" in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.pth", "tiny.pth"]
