"""Conversion of mmaction VideoMAE files: the account, the values, and everything that must be refused."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import torch

from adatad_jax.conversion.convert_file import convert_file
from adatad_jax.conversion.store import insert_backbone, load_backbone
from adatad_jax.conversion.torch_file import load_state_dict, save_state_dict
from adatad_jax.conversion.videomae import convert_videomae
from adatad_jax.demo.weights import videomae_state
from adatad_jax.errors import UserError
from adatad_jax.models.adatad import AdaTAD, DetectorConfig
from adatad_jax.models.positions import sinusoid_table
from adatad_jax.models.sizes import SIZES, ViTConfig
from tests.real_data import real_file

ROOT = Path(__file__).parents[2]
KEYS = json.loads((ROOT / "tests/golden/keys/mmaction_videomae_s_k400_checkpoint.json").read_text())


@pytest.fixture(scope="module")
def published_state() -> dict[str, np.ndarray]:
    """Random weights under every key of the published K400 VideoMAE-S file."""
    rng = np.random.default_rng(0)
    state = {row["key"]: rng.normal(size=row["shape"]).astype(np.float32) for row in KEYS["keys"]}
    state["backbone.pos_embed"] = sinusoid_table(1568, 384)[None]
    return state


def test_account_of_the_published_file_is_exact(published_state: dict[str, np.ndarray]) -> None:
    backbone = convert_videomae(published_state, Path("k400.pth"))
    assert (backbone.size, backbone.read, backbone.mapped) == ("S", 163, 158)
    assert sorted(backbone.left_out) == [
        "cls_head.fc_cls.bias",
        "cls_head.fc_cls.weight",
        "fc_norm.bias",
        "fc_norm.weight",
        "pos_embed",
    ]
    assert "108 in all 12 blocks" in backbone.account()


def test_values_land_where_their_names_say(published_state: dict[str, np.ndarray]) -> None:
    params = convert_videomae(published_state, Path("k400.pth")).params
    blocks = params["blocks_0_11"]
    np.testing.assert_array_equal(
        blocks["attn"]["qkv"]["kernel"][7], published_state["backbone.blocks.7.attn.qkv.weight"].T
    )
    np.testing.assert_array_equal(
        blocks["mlp"]["fc2"]["bias"][3], published_state["backbone.blocks.3.mlp.layers.1.bias"]
    )
    kernel = published_state["backbone.patch_embed.projection.weight"]
    # [out, in, t, h, w] -> [t, h, w, in, out]
    assert params["patch_embed"]["kernel"][1, 2, 3, 0, 5] == kernel[5, 0, 1, 2, 3]


def test_positions_of_the_file_are_used_when_they_are_not_the_table(published_state: dict[str, np.ndarray]) -> None:
    learned = {**published_state, "backbone.pos_embed": published_state["backbone.pos_embed"] + 2e-6}
    backbone = convert_videomae(learned, Path("k400.pth"))
    assert backbone.mapped == 159
    assert "pos_embed" not in backbone.left_out
    np.testing.assert_array_equal(backbone.params["pos_embed"], learned["backbone.pos_embed"][0])


def test_every_misfit_is_listed_at_once(published_state: dict[str, np.ndarray]) -> None:
    state = dict(published_state)
    del state["backbone.blocks.4.attn.q_bias"]
    state["backbone.blocks.5.norm1.weight"] = np.zeros(385, np.float32)
    state["backbone.blocks.5.extra"] = np.zeros(3, np.float32)
    with pytest.raises(UserError) as caught:
        convert_videomae(state, Path("k400.pth"))
    message = str(caught.value)
    assert "k400.pth: 3 tensors" in message
    assert "missing: blocks.4.attn.q_bias" in message
    assert "wrong shape: blocks.5.norm1.weight is (385,), expected (384,)" in message
    assert "unknown: blocks.5.extra (3,)" in message


@pytest.fixture
def tiny_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.pth"
    save_state_dict(path, videomae_state(seed=0))
    return path


def test_pth_and_converted_folder_give_the_same_parameters(tiny_file: Path, tmp_path: Path) -> None:
    account = convert_file(tiny_file, tmp_path / "out")
    assert "size tiny" in account
    jax.tree.map(np.testing.assert_array_equal, load_backbone(tiny_file)[0], load_backbone(tmp_path / "out")[0])
    assert load_backbone(tiny_file)[1] == load_backbone(tmp_path / "out")[1]
    with pytest.raises(UserError, match="exists already"):
        convert_file(tiny_file, tmp_path / "out")


def test_blocks_are_dealt_to_the_runs_of_the_model(tiny_file: Path) -> None:
    """Adapters in block 1 of 3 alone make three stacks of one block."""
    backbone, _ = load_backbone(tiny_file)
    vit = ViTConfig(width=64, depth=3, heads=2, mlp_hidden=256, tia_blocks=(1,), tia_hidden=16)
    model = AdaTAD(vit, DetectorConfig(2, width=16, heads=2, max_length=32))
    frames, mask = np.zeros((1, 16, 32, 32, 3), np.uint8), np.ones((1, 16), bool)
    params = model.init(jax.random.key(0), frames, mask)["params"]
    merged = insert_backbone(params, backbone, vit, tiny_file)
    for block in range(3):
        jax.tree.map(
            lambda all_blocks, one, block=block: np.testing.assert_array_equal(all_blocks[block], one[0]),
            backbone["blocks_0_2"],
            {k: v for k, v in merged["backbone"][f"blocks_{block}_{block}"].items() if k != "tia"},
        )
    assert "tia" in merged["backbone"]["blocks_1_1"]
    # The file's own positions came along.
    np.testing.assert_array_equal(merged["backbone"]["pos_embed"], backbone["pos_embed"])


def test_weights_of_another_size_are_refused_with_every_leaf(tiny_file: Path) -> None:
    vit = SIZES["tiny"]
    deeper = ViTConfig(width=32, depth=4, heads=2, mlp_hidden=128)
    model = AdaTAD(deeper, DetectorConfig(2, width=16, heads=2, max_length=32))
    frames, mask = np.zeros((1, 16, 32, 32, 3), np.uint8), np.ones((1, 16), bool)
    params = model.init(jax.random.key(0), frames, mask)["params"]
    with pytest.raises(UserError) as caught:
        insert_backbone(params, load_backbone(tiny_file)[0], deeper, tiny_file)
    message = str(caught.value)
    assert f"found {vit.depth} blocks, the model has 4" in message
    assert "patch_embed/bias: found (64,), the model needs (32,)" in message


class Malicious:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("ran"),))


@pytest.mark.parametrize("kind", ["truncated", "text", "empty", "pickle", "no tensors", "nan", "absent"])
def test_bad_files_are_refused_by_name_and_leave_nothing(kind: str, tiny_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.pth"
    if kind == "truncated":
        path.write_bytes(tiny_file.read_bytes()[:100_000])
    elif kind == "text":
        path.write_text("not a checkpoint")
    elif kind == "empty":
        path.touch()
    elif kind == "pickle":
        with path.open("wb") as file:
            pickle.dump({"state_dict": Malicious()}, file)
    elif kind == "no tensors":
        torch.save({"epoch": 3}, path)
    elif kind == "nan":
        state = videomae_state(seed=0)
        state["backbone.blocks.1.norm1.bias"][0] = np.nan
        save_state_dict(path, state)
    with pytest.raises(UserError, match=r"bad\.pth") as caught:
        convert_file(path, tmp_path / "out")
    if kind == "nan":
        assert "backbone.blocks.1.norm1.bias" in str(caught.value)
    if kind == "pickle":
        assert "would run code" in str(caught.value)
    assert not Path("ran").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted({"tiny.pth", *(["bad.pth"] * (kind != "absent"))})


def test_half_precision_and_module_prefixes_are_taken(tmp_path: Path) -> None:
    state = {f"module.{key}": torch.from_numpy(value).half() for key, value in videomae_state(seed=0).items()}
    torch.save(state, tmp_path / "half.pth")
    loaded = load_state_dict(tmp_path / "half.pth")
    assert {value.dtype for value in loaded.values()} == {np.dtype(np.float32)}
    assert convert_videomae(loaded, tmp_path / "half.pth").size == "tiny"


def test_another_network_is_refused() -> None:
    path = real_file("weights/legacy_module_prefix.pth")
    with pytest.raises(UserError, match="not a VideoMAE backbone in mmaction layout"):
        convert_videomae(load_state_dict(path), path)


def test_command_line(tiny_file: Path, tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "convert/pth_to_flax.py", tiny_file, tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "mapped  42 tensors" in done.stdout  # 46 read; the classifier and its norm are left out
    again = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert again.returncode == 2
    assert again.stderr.startswith("error: ")
    assert again.stderr.count("\n") == 1
