"""Recognition of layouts from tensor names, and the map from the names of one layout to those of another."""

import json
from pathlib import Path

import pytest

from adatad_jax.conversion.names import Layout, recognise
from adatad_jax.errors import UserError

KEYS = Path(__file__).parents[1] / "golden/keys"
SOURCE = Path("file.pth")
HUGGING_FACE = "embeddings.patch_embeddings.projection.weight"


@pytest.mark.parametrize("prefix", ["", "backbone.", "model.backbone.", "backbone.model.backbone.", "model."])
def test_mmaction_and_original_names(prefix: str) -> None:
    mmaction = recognise([f"{prefix}patch_embed.projection.weight", "cls_head.fc_cls.weight"], SOURCE)
    assert (mmaction.layout, mmaction.prefix) == (Layout.MMACTION, prefix)
    assert mmaction.parts("blocks.7.mlp.layers.0.0.bias") == (f"{prefix}blocks.7.mlp.layers.0.0.bias",)
    original = recognise([f"{prefix}patch_embed.proj.weight"], SOURCE)
    assert (original.layout, original.prefix) == (Layout.ORIGINAL, prefix)
    assert original.parts("blocks.7.mlp.layers.0.0.bias") == (f"{prefix}blocks.7.mlp.fc1.bias",)
    assert original.parts("blocks.7.mlp.layers.1.weight") == (f"{prefix}blocks.7.mlp.fc2.weight",)
    assert original.parts("blocks.7.attn.qkv.weight") == (f"{prefix}blocks.7.attn.qkv.weight",)


@pytest.mark.parametrize("prefix", ["", "videomae."])
@pytest.mark.parametrize("biases", [("q_bias", "v_bias"), ("query.bias", "value.bias"), ()])
def test_hugging_face_names(prefix: str, biases: tuple[str, ...]) -> None:
    attention = f"{prefix}encoder.layer.3.attention."
    keys = [prefix + HUGGING_FACE, *(f"{attention}attention.{bias}" for bias in biases)]
    naming = recognise(keys, SOURCE)
    assert naming.layout is Layout.HUGGING_FACE
    assert naming.parts("blocks.3.attn.qkv.weight") == tuple(
        f"{attention}attention.{name}.weight" for name in ("query", "key", "value")
    )
    assert naming.parts("blocks.3.attn.q_bias") == tuple(f"{attention}attention.{bias}" for bias in biases[:1])
    assert naming.parts("blocks.3.attn.v_bias") == tuple(f"{attention}attention.{bias}" for bias in biases[1:])
    assert naming.parts("blocks.3.attn.proj.bias") == (f"{attention}output.dense.bias",)
    assert naming.parts("blocks.3.norm1.weight") == (f"{prefix}encoder.layer.3.layernorm_before.weight",)
    assert naming.parts("blocks.3.norm2.weight") == (f"{prefix}encoder.layer.3.layernorm_after.weight",)
    assert naming.parts("blocks.3.mlp.layers.0.0.bias") == (f"{prefix}encoder.layer.3.intermediate.dense.bias",)
    assert naming.parts("blocks.3.mlp.layers.1.bias") == (f"{prefix}encoder.layer.3.output.dense.bias",)
    assert naming.parts("patch_embed.projection.bias") == (f"{prefix}embeddings.patch_embeddings.projection.bias",)


@pytest.mark.parametrize(
    ("mark", "key", "kept_as"),
    [
        ("backbone.patch_embed.projection.weight", "backbone.fc_norm.bias", "fc_norm.bias"),
        ("backbone.patch_embed.projection.weight", "cls_head.fc_cls.weight", "cls_head.fc_cls.weight"),
        ("model.backbone.patch_embed.projection.weight", "model.cls_head.fc_cls.bias", "cls_head.fc_cls.bias"),
        ("patch_embed.proj.weight", "head.weight", "cls_head.fc_cls.weight"),
        ("patch_embed.proj.weight", "norm.weight", "norm.weight"),
        ("encoder.patch_embed.proj.weight", "encoder.norm.bias", "encoder.norm.bias"),
        ("encoder.patch_embed.proj.weight", "decoder.blocks.3.mlp.fc1.weight", "decoder.blocks.3.mlp.fc1.weight"),
        ("encoder.patch_embed.proj.weight", "encoder_to_decoder.weight", "encoder_to_decoder.weight"),
        ("encoder.patch_embed.proj.weight", "mask_token", "mask_token"),
        (f"videomae.{HUGGING_FACE}", "classifier.bias", "cls_head.fc_cls.bias"),
        (f"videomae.{HUGGING_FACE}", "fc_norm.weight", "fc_norm.weight"),
        (f"videomae.{HUGGING_FACE}", "videomae.layernorm.weight", "videomae.layernorm.weight"),
        (f"videomae.{HUGGING_FACE}", "decoder.decoder_layers.0.output.dense.bias", None),
        ("backbone.patch_embed.projection.weight", "backbone.blocks.0.adapter.gamma", ""),
        ("patch_embed.proj.weight", "blocks.0.gamma_1", ""),
    ],
)
def test_what_is_kept_beside_the_encoder(mark: str, key: str, kept_as: str | None) -> None:
    """Takes None to mean the same name, and an empty text to mean an unknown tensor."""
    unused = recognise([mark, key], SOURCE).unused(key)
    assert (unused[0] if unused else "") == (key if kept_as is None else kept_as)


def test_detectors_are_told_from_backbones() -> None:
    released = [row["key"] for row in json.loads((KEYS / "adatad_videomae_s_thumos.json").read_text())["keys"]]
    for prefix in ("", "module."):
        assert recognise([prefix + key for key in released], SOURCE).layout is Layout.DETECTOR
    assert recognise([f"_orig_mod.{key}" for key in released], SOURCE).layout is Layout.DETECTOR  # not a backbone
    side = [key.replace("blocks.11.adapter.", "ladders.adapters.0.") for key in released]
    assert recognise(side, SOURCE).layout is Layout.SIDE_DETECTOR


def test_what_is_no_videomae_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        recognise(["conv1.weight", "fc.bias"], SOURCE)
    message = str(caught.value)
    for mark in ("patch_embed.projection.weight", "patch_embed.proj.weight", HUGGING_FACE, "rpn_head"):
        assert mark in message
    assert message.startswith("file.pth: not a VideoMAE")
    assert "conv1.weight, fc.bias" in message


def test_two_networks_in_one_file_are_refused() -> None:
    keys = ["backbone.patch_embed.projection.weight", "patch_embed.proj.weight"]
    with pytest.raises(UserError, match=r"^file\.pth: .*\b2 networks\b") as caught:
        recognise(keys, SOURCE)
    assert all(key in str(caught.value) for key in keys)
