"""Whole detectors, converted and exported again: every tensor of both states is the same bit for bit."""

import json
import re
from pathlib import Path

import flax.traverse_util
import jax
import ml_dtypes
import numpy as np
import pytest
import torch

from adatad_jax.config.build import make_model
from adatad_jax.config.fields import Config
from adatad_jax.config.load import load_config
from adatad_jax.conversion.detector import model_shapes
from adatad_jax.conversion.torch_file import RECORD, read_tensors, write_tensors
from adatad_jax.errors import UserError
from adatad_jax.training import checkpoints
from adatad_jax.training.parameters import detector_groups, merge, split
from adatad_jax.training.state import TrainState
from adatad_jax.weights.backbone_store import UNUSED_FILE
from adatad_jax.weights.convert_file import convert_file
from adatad_jax.weights.export import export
from adatad_jax.weights.frozen import write_frozen
from adatad_jax.weights.run_folder import write_config
from tests.conversion.release_detectors import BACKBONE, Release, Tensors, behind_module, labels, sinusoid

ROOT = Path(__file__).parents[2]
KEYS = json.loads((ROOT / "tests/golden/keys/adatad_videomae_s_thumos.json").read_text())["keys"]
THUMOS_S = Release(
    width=384,
    depth=12,
    mlp=1536,
    grid=14,
    adapters=tuple(range(12)),
    hidden=96,
    detector=512,
    stem=2,
    branch=5,
    classes=20,
)
TIA = Release(adapters=(0, 1, 2))


def same(found: Tensors, expected: Tensors) -> None:
    """Checks that two states have the same keys, shapes, dtypes and bytes."""
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].dtype == value.dtype, key
        assert found[key].shape == value.shape, key
        assert found[key].reshape(-1).view(torch.uint8).equal(value.reshape(-1).view(torch.uint8)), key


def round_trip(folder: Path, content: dict[str, Tensors], config: Config, name: str = "back.pth") -> dict:
    torch.save({"epoch": 7, **content}, folder / "in.pth")
    convert_file(folder / "in.pth", folder / "flax", config)
    export(folder / "flax", folder / name)
    return torch.load(folder / name, weights_only=True)


def test_names_and_shapes_here_are_the_release_s() -> None:
    assert THUMOS_S.shapes() == {row["key"]: tuple(row["shape"]) for row in KEYS}


@pytest.mark.parametrize(
    "release",
    [
        TIA,
        Release(adapters=(0, 2), classes=65, convs=3, stem=0, embed=3),
        Release(side_adapters=2),
        Release(),
        Release(adapters=(2,), classes=1, branch=7),
        Release(adapters=(1, 2), branch=9),
    ],
    ids=["tia", "some blocks", "side", "frozen", "one class, 8 levels", "10 levels"],
)
def test_round_trip_is_bit_identical(release: Release, tmp_path: Path) -> None:
    state, averaged = release.state(0), release.state(1)
    # What training leaves: a normaliser in float32, whose average stays an integer, and drift of what is constant.
    state["rpn_head.loss_normalizer"], averaged["rpn_head.loss_normalizer"] = torch.tensor(87.65), torch.tensor(91)
    averaged[f"{BACKBONE}pos_embed"] *= 1 + 1e-7
    averaged[f"{BACKBONE}patch_embed.projection.bias"] = state[f"{BACKBONE}patch_embed.projection.bias"]
    content = {"state_dict": behind_module(state), "state_dict_ema": behind_module(averaged)}
    config = release.config(None if release.classes == 1 else labels(tmp_path / "labels.txt", release.classes))
    back = round_trip(tmp_path, content, config)
    assert back.keys() == {"state_dict", "state_dict_ema", RECORD}
    same(back["state_dict"], content["state_dict"])
    same(back["state_dict_ema"], content["state_dict_ema"])


@pytest.mark.parametrize("states", ["state_dict", "state_dict_ema"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_one_state_of_any_precision_comes_back_as_both(states: str, dtype: torch.dtype, tmp_path: Path) -> None:
    state = {key: value.to(dtype) if value.is_floating_point() else value for key, value in TIA.state(0).items()}
    if dtype == torch.float64:
        state = {key: value * (1 + 1e-12) for key, value in state.items()}  # more than float32 holds
    back = round_trip(tmp_path, {states: state}, TIA.config(labels(tmp_path / "labels.txt", 3)))
    same(back["state_dict"], behind_module(state))
    same(back["state_dict_ema"], behind_module(state))


def test_states_of_different_precision_keep_each_its_own(tmp_path: Path) -> None:
    """Even if the average, in half precision, has the same values as the other state."""
    state = {key: value.half().float() if value.is_floating_point() else value for key, value in TIA.state(0).items()}
    averaged = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    for first, second in ((state, averaged), (averaged, state)):
        folder = tmp_path / str(first is state)
        folder.mkdir()
        back = round_trip(
            folder, {"state_dict": first, "state_dict_ema": second}, TIA.config(labels(tmp_path / "labels.txt", 3))
        )
        same(back["state_dict"], behind_module(first))
        same(back["state_dict_ema"], behind_module(second))


@pytest.mark.parametrize("where", ["both", "average alone"])
def test_positions_of_the_file_s_own_come_back(where: str, tmp_path: Path) -> None:
    state, averaged = TIA.state(0), TIA.state(1)
    averaged[f"{BACKBONE}pos_embed"] += 1e-3
    if where == "both":
        state[f"{BACKBONE}pos_embed"] += 2e-3
    content = {"state_dict": behind_module(state), "state_dict_ema": behind_module(averaged)}
    back = round_trip(tmp_path, content, TIA.config(labels(tmp_path / "labels.txt", 3)))
    same(back["state_dict"], content["state_dict"])
    same(back["state_dict_ema"], content["state_dict_ema"])


def test_a_run_s_own_positions_are_not_called_fresh(tmp_path: Path) -> None:
    config = TIA.config(labels(tmp_path / "labels.txt", 3))
    make_run(tmp_path / "run", config, 3, normalizer=5)
    assert re.search(r"pos_embed: .*\bfresh\b", export(tmp_path / "run", tmp_path / "fresh.pth"))
    learned = np.ones((8 * TIA.grid**2, TIA.width), np.float32)
    make_run(tmp_path / "own", config, 3, normalizer=5, positions=learned)
    assert re.search(r"pos_embed: .*\bown\b", export(tmp_path / "own", tmp_path / "own.pth"))
    written = read_tensors(tmp_path / "own.pth").averaged[f"{BACKBONE}pos_embed"]
    np.testing.assert_array_equal(written, learned[None])


def test_safetensors_hold_the_same(tmp_path: Path) -> None:
    state, averaged = TIA.state(0), TIA.state(1)
    content = {"state_dict": behind_module(state), "state_dict_ema": behind_module(averaged)}
    round_trip(tmp_path, content, TIA.config(labels(tmp_path / "labels.txt", 3)))
    export(tmp_path / "flax", tmp_path / "back.safetensors")
    found = read_tensors(tmp_path / "back.safetensors")
    for tensors, expected in ((found.tensors, state), (found.averaged, averaged)):
        assert tensors.keys() == expected.keys()
        assert all(np.array_equal(tensors[key], value.numpy()) for key, value in expected.items())


def make_run(
    folder: Path,
    config: Config,
    classes: int,
    normalizer: float,
    full: bool = False,
    positions: np.ndarray | None = None,
) -> TrainState:
    """Writes a run's folder with a checkpoint after epoch 3; `positions` are of the backbone's file."""
    shapes = model_shapes(make_model(config, classes))
    rng = np.random.default_rng(0)

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        return np.broadcast_to(np.float32(rng.normal()), shape).copy()

    params = flax.traverse_util.unflatten_dict({path: draw(shape) for path, shape in shapes.items()})
    if positions is not None:
        params["backbone"]["pos_embed"] = positions
    trained, frozen = split(params, detector_groups(full))
    state = TrainState(
        step=np.int32(30),
        trained=trained,
        frozen=frozen,
        average=jax.tree.map(lambda leaf: leaf + 1, trained),
        optimizer={"moment": np.zeros(2, np.float32)},
        normalizer=np.float32(normalizer),
        key=np.zeros(2, np.uint32),
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_config(folder, config, tuple(f"class {i}" for i in range(classes)))
    write_frozen(folder, frozen)
    with checkpoints.open_manager(folder, keep=1) as manager:
        checkpoints.save(manager, 30, state, {"epoch": 3})
    return state


def test_a_run_of_thumos_s_becomes_all_keys_of_the_release(tmp_path: Path) -> None:
    config = load_config(ROOT / "configs/thumos_s.py")
    make_run(tmp_path / "run", config, 20, normalizer=123.5)
    summary = export(tmp_path / "run", tmp_path / "out.pth")
    assert re.search(r"\b499 tensors\b", summary)
    content = torch.load(tmp_path / "out.pth", weights_only=True, mmap=True)
    expected = {f"module.{row['key']}": (tuple(row["shape"]), row["dtype"]) for row in KEYS}
    # The normaliser is an integer in a fresh model, and a float after training.
    expected["module.rpn_head.loss_normalizer"] = ((), "float32")
    for state in ("state_dict", "state_dict_ema"):
        found = {k: (tuple(v.shape), str(v.dtype).removeprefix("torch.")) for k, v in content[state].items()}
        assert found == expected
        assert content[state]["module.rpn_head.loss_normalizer"] == 123.5
        fixed = content[state][f"module.{BACKBONE}pos_embed"]
        torch.testing.assert_close(fixed, sinusoid(1568, 384), rtol=0, atol=1e-6)
        assert (content[state][f"module.{BACKBONE}fc_norm.weight"] == 1).all()
        assert (content[state][f"module.{BACKBONE}fc_norm.bias"] == 0).all()


def test_a_run_s_averages_are_written_in_full_and_its_unused_tensors_bit_for_bit(tmp_path: Path) -> None:
    config = TIA.config(labels(tmp_path / "labels.txt", 3))
    run = make_run(tmp_path / "run", config, 3, normalizer=5)
    positions = (sinusoid(32, 64) * (1 + 1e-7)).numpy()
    norm = np.arange(64).astype(ml_dtypes.bfloat16)
    unused = {
        "pos_embed": positions,
        "fc_norm.weight": norm,
        "cls_head.fc_cls.weight": np.ones((4, 64), np.float32),
    }
    write_tensors(tmp_path / "run" / UNUSED_FILE, unused)
    export(tmp_path / "run", tmp_path / "out.safetensors")
    found = read_tensors(tmp_path / "out.safetensors")
    assert found.tensors.keys() == found.averaged.keys() == TIA.shapes().keys()  # a detector has no classifier
    for state in (found.tensors, found.averaged):
        np.testing.assert_array_equal(state[f"{BACKBONE}pos_embed"], positions)
        np.testing.assert_array_equal(state[f"{BACKBONE}fc_norm.weight"], norm)
        assert state[f"{BACKBONE}fc_norm.weight"].dtype == norm.dtype
        assert (state[f"{BACKBONE}fc_norm.bias"] == 0).all()
    frozen, trained = f"{BACKBONE}blocks.1.attn.qkv.weight", f"{BACKBONE}blocks.1.adapter.up_proj.weight"
    blocks = merge(run.trained, run.frozen)["backbone"]["blocks_0_2"]
    np.testing.assert_array_equal(found.tensors[frozen], blocks["attn"]["qkv"]["kernel"][1].T)
    np.testing.assert_array_equal(found.averaged[frozen], found.tensors[frozen])
    np.testing.assert_array_equal(found.tensors[trained], blocks["tia"]["up"]["kernel"][1].T)
    np.testing.assert_array_equal(found.averaged[trained], found.tensors[trained] + 1)


def test_a_side_run_has_no_classifier_norm_and_comes_back(tmp_path: Path) -> None:
    release = Release(side_adapters=2)
    config = release.config(labels(tmp_path / "labels.txt", 3))
    make_run(tmp_path / "run", config, 3, normalizer=5)
    export(tmp_path / "run", tmp_path / "out.pth")
    found = read_tensors(tmp_path / "out.pth")
    assert {key: value.shape for key, value in found.tensors.items()} == release.shapes()
    convert_file(tmp_path / "out.pth", tmp_path / "flax", config)
    export(tmp_path / "flax", tmp_path / "again.pth")
    again = read_tensors(tmp_path / "again.pth")
    for one, other in ((found.tensors, again.tensors), (found.averaged, again.averaged)):
        assert all(np.array_equal(one[key], other[key]) for key in one)


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    config = TIA.config(labels(tmp_path / "labels.txt", 3))
    make_run(tmp_path / "run", config, 3, normalizer=5)
    with pytest.raises(UserError, match=r"out\.onnx: .*\.pth\b.*\.safetensors\b"):
        export(tmp_path / "run", tmp_path / "out.onnx")
    (tmp_path / "there.pth").write_text("mine")
    with pytest.raises(UserError, match=r"there\.pth: .*\bexists\b"):
        export(tmp_path / "run", tmp_path / "there.pth")
    assert (tmp_path / "there.pth").read_text() == "mine"
    for nothing in (tmp_path, tmp_path / "there.pth"):
        with pytest.raises(UserError, match=rf"^{re.escape(str(nothing))}: .*\bno run\b"):
            export(nothing, tmp_path / "out.pth")
    content = json.loads((tmp_path / "run/config.json").read_text())
    content["config"]["model.width"] = 32
    (tmp_path / "run/config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"detector/neck/norm_0/bias: .*\(16,\).*\(32,\)"):
        export(tmp_path / "run", tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()
