"""Conversion of VideoMAE backbones: the conversion summary, the values, and all files that must be refused."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from adatad_jax.conversion.torch_file import TensorFile, read_tensors, write_tensors
from adatad_jax.conversion.videomae import convert_backbone, count_parameters
from adatad_jax.errors import UserError
from adatad_jax.models.positions import sinusoid_table
from tests.conversion import live_models
from tests.real_data import real_file
from tests.tiny_videomae import videomae_state

KEYS = Path(__file__).parents[1] / "golden/keys"
State = dict[str, np.ndarray]


def file_of(state: State, averaged: State | None = None) -> TensorFile:
    return TensorFile(Path("k400.pth"), state, averaged or {}, {})


@pytest.fixture(scope="module")
def published() -> State:
    """Makes random weights under every key of the published K400 VideoMAE-S file."""
    keys = json.loads((KEYS / "mmaction_videomae_s_k400_checkpoint.json").read_text())["keys"]
    rng = np.random.default_rng(0)
    state = {row["key"]: rng.normal(size=row["shape"]).astype(np.float32) for row in keys}
    state["backbone.pos_embed"] = sinusoid_table(1568, 384)[None]
    return state


def test_account_of_the_published_file_is_exact(published: State) -> None:
    backbone = convert_backbone(file_of(published))
    assert (backbone.size, backbone.heads, backbone.image_size, backbone.read, backbone.mapped) == (
        "S",
        6,
        224,
        163,
        158,
    )
    assert backbone.groups == {"patch embedding": 2, "blocks": 156, "adapters": 0}
    assert sorted(backbone.left_out) == [
        "cls_head.fc_cls.bias",
        "cls_head.fc_cls.weight",
        "fc_norm.bias",
        "fc_norm.weight",
        "pos_embed",
    ]
    words = backbone.summary()
    assert "mmaction VideoMAE (fine-tuned), size S: width 384, depth 12, heads 6, MLP 1536, patch 16" in words
    assert "108 in all 12 blocks" in words
    # Width C, MLP 4C: a block has 12 C^2 + 12 C numbers (no bias on k), the patch embedding 3*2*16*16 C + C.
    numbers = 12 * (12 * 384**2 + 12 * 384) + 1536 * 384 + 384
    assert count_parameters(backbone.params) == numbers
    assert f"{numbers:,} parameters" in words
    record = json.loads(json.dumps(backbone.record()))
    assert (record["read"], record["mapped"], len(record["left_out"])) == (163, 158, 5)
    assert record["initialised"] == {"adapters": 108}
    assert record["parameters"] == numbers


def test_values_land_where_their_names_say(published: State) -> None:
    params = convert_backbone(file_of(published)).params
    blocks = params["blocks_0_11"]
    np.testing.assert_array_equal(blocks["attn"]["qkv"]["kernel"][7], published["backbone.blocks.7.attn.qkv.weight"].T)
    np.testing.assert_array_equal(blocks["mlp"]["fc2"]["bias"][3], published["backbone.blocks.3.mlp.layers.1.bias"])
    kernel = published["backbone.patch_embed.projection.weight"]
    # [out, in, t, h, w] -> [t, h, w, in, out]
    assert params["patch_embed"]["kernel"][1, 2, 3, 0, 5] == kernel[5, 0, 1, 2, 3]


def test_what_is_left_out_travels_bit_for_bit(published: State) -> None:
    half = published["cls_head.fc_cls.weight"].astype(ml_dtypes.bfloat16)
    unused = convert_backbone(file_of({**published, "cls_head.fc_cls.weight": half})).unused
    assert unused["cls_head.fc_cls.weight"].dtype == ml_dtypes.bfloat16
    assert unused["cls_head.fc_cls.weight"].tobytes() == half.tobytes()
    for name in ("fc_norm.weight", "fc_norm.bias", "pos_embed"):
        assert unused[name] is published[f"backbone.{name}"]


def test_positions_of_the_file_are_used_when_they_are_not_the_table(published: State) -> None:
    learned = {**published, "backbone.pos_embed": published["backbone.pos_embed"] + 2e-6}
    backbone = convert_backbone(file_of(learned))
    assert backbone.mapped == 159
    assert "pos_embed" not in backbone.left_out
    assert "pos_embed" not in backbone.unused
    assert re.search(r"^note .*\bown positions are used\b.*\b2\.\de-06\b", backbone.summary(), re.MULTILINE)
    np.testing.assert_array_equal(backbone.params["pos_embed"], learned["backbone.pos_embed"][0])


def test_weights_come_before_their_average(published: State) -> None:
    average = {key: value + 1 for key, value in published.items()}
    backbone = convert_backbone(file_of(published, average))
    bias = published["backbone.patch_embed.projection.bias"]
    np.testing.assert_array_equal(backbone.params["patch_embed"]["bias"], bias)
    assert re.search(r"^note .*\bmoving average\b.*\b163 tensors\b.*\bnot used\b", backbone.summary(), re.MULTILINE)
    alone = convert_backbone(file_of(average, average))
    assert re.search(r"^note .*\bonly a moving average\b", alone.summary(), re.MULTILINE)


def test_every_misfit_is_listed_at_once_by_the_names_of_the_file(published: State) -> None:
    state = dict(published)
    del state["backbone.blocks.4.attn.q_bias"]
    state["backbone.blocks.5.norm1.weight"] = np.zeros(385, np.float32)
    state["backbone.blocks.6.norm1.weight"] = np.zeros(384, np.int8)
    state["backbone.blocks.5.extra"] = np.zeros(3, np.float32)
    state["backbone.fc_norm.bias"] = np.zeros(768, np.float32)
    state["cls_head.fc_cls.weight"] = np.zeros((400, 768), np.float32)
    state["backbone.pos_embed"] = np.zeros((1, 100, 384), np.float32)
    with pytest.raises(UserError) as caught:
        convert_backbone(file_of(state))
    message = str(caught.value)
    assert "k400.pth: 7 tensors" in message
    for line in (
        "missing: backbone.blocks.4.attn.q_bias\n",
        "wrong shape: backbone.blocks.5.norm1.weight is (385,), expected (384,)\n",
        "wrong type: backbone.blocks.6.norm1.weight is int8, expected floating point\n",
        "unknown: backbone.blocks.5.extra (3,)",
        "wrong shape: backbone.fc_norm.bias is (768,), expected (384,)\n",
        "wrong shape: cls_head.fc_cls.weight is (400, 768), expected (400, 384)\n",
        "wrong shape: backbone.pos_embed is (1, 100, 384), expected (1, 8 * grid * grid, 384)\n",
    ):
        assert line in message


Spoil = Callable[[State], object]


@pytest.mark.parametrize(
    ("form", "spoil", "expected"),
    [
        (
            "original",
            lambda state: state.pop("blocks.1.mlp.fc2.weight"),
            ["missing: blocks.1.mlp.fc2.weight (for blocks.1.mlp.layers.1.weight)"],
        ),
        (
            "hugging face",
            lambda state: state.pop("videomae.encoder.layer.2.attention.attention.key.weight"),
            ["missing: videomae.encoder.layer.2.attention.attention.key.weight (for blocks.2.attn.qkv.weight)"],
        ),
        (
            "hugging face",
            lambda state: state.update(
                {"videomae.encoder.layer.2.attention.attention.value.weight": np.zeros((24, 12), np.float32)}
            ),
            ["wrong shape: videomae.encoder.layer.2.attention.attention.value.weight is (24, 12), expected (24, 24)"],
        ),
        (  # a mixture of two layouts
            "original",
            lambda state: state.update({"blocks.0.mlp.layers.0.0.bias": state.pop("blocks.0.mlp.fc1.bias")}),
            ["missing: blocks.0.mlp.fc1.bias", "unknown: blocks.0.mlp.layers.0.0.bias (96,)"],
        ),
        (  # a block of another size, the first one
            "original",
            lambda state: state.update({"blocks.0.mlp.fc1.weight": np.zeros((100, 24), np.float32)}),
            ["1 tensors", "wrong shape: blocks.0.mlp.fc1.weight is (100, 24), expected (96, 24)"],
        ),
        (
            "original",
            lambda state: state.update({"classifier.weight": state["head.weight"]}),
            ["1 tensors", "duplicate: classifier.weight is a second cls_head.fc_cls.weight"],
        ),
    ],
)
def test_misfits_in_other_layouts(form: str, spoil: Spoil, expected: list[str]) -> None:
    live = live_models.make("classifier")
    tensors = live_models.to_original(live) if form == "original" else live.state_dict()
    state = {key: value.numpy() for key, value in tensors.items()}
    spoil(state)
    with pytest.raises(UserError) as caught:
        convert_backbone(file_of(state))
    for line in expected:
        assert line in str(caught.value)


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "model.backbone.", "module.backbone.model.backbone."])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_prefixes_and_half_precision_are_taken(prefix: str, dtype: type, tmp_path: Path) -> None:
    """Checks that values become float32 exactly, whatever the prefix."""
    plain = {key.removeprefix("backbone."): value.astype(dtype) for key, value in videomae_state(seed=0).items()}
    write_tensors(tmp_path / "a.safetensors", {prefix + key: value for key, value in plain.items()})
    backbone = convert_backbone(read_tensors(tmp_path / "a.safetensors"))
    assert (backbone.size, backbone.read, backbone.mapped) == ("tiny", 46, 42)
    kernel = backbone.params["blocks_0_2"]["attn"]["proj"]["kernel"][1]
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, plain["blocks.1.attn.proj.weight"].astype(np.float32).T)


def test_another_network_is_refused() -> None:
    message = r"/legacy_module_prefix\.pth: not a VideoMAE\b.*\bpatch_embed\.proj\.weight\b.*clf_head"
    with pytest.raises(UserError, match=message):
        convert_backbone(read_tensors(real_file("weights/legacy_module_prefix.pth")))


def test_vision_transformers_of_pictures_are_refused(published: State) -> None:
    """Uses tensors whose names are nearly those of a VideoMAE."""
    flat = {**published, "backbone.patch_embed.projection.weight": np.zeros((384, 3, 16, 16), np.float32)}
    with pytest.raises(UserError, match=r"projection\.weight\b.* \(384, 3, 16, 16\), expected \(width, 3, 2"):
        convert_backbone(file_of(flat))
    headless = {key: value for key, value in published.items() if ".blocks." not in key}
    with pytest.raises(UserError, match=r"\bbackbone\.blocks\.0\.mlp\.layers\.0\.0\.weight\b.*\bmissing\b"):
        convert_backbone(file_of(headless))
    far = {**published, "backbone.blocks.999999999.norm1.bias": np.zeros(384, np.float32)}
    with pytest.raises(UserError, match=r"^k400\.pth: .*\bblock\b.*\b999999999\b.*\b164 tensors\b"):
        convert_backbone(file_of(far))


def test_whole_detectors_are_sent_elsewhere() -> None:
    rows = json.loads((KEYS / "adatad_videomae_s_thumos.json").read_text())["keys"]
    state = {row["key"]: np.zeros(1, np.float32) for row in rows}
    with pytest.raises(UserError, match=r"^k400\.pth: .*\bAdaTAD detector\b.*\bVideoMAE backbone\b.*--checkpoint\b"):
        convert_backbone(file_of(state))
