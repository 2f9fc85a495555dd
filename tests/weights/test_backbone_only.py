"""Backbone and adapters of a detector as weights for another training, and detectors of other heads, called by name."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import flax.traverse_util
import jax
import numpy as np
import pytest
import torch

from adatad_jax.config.build import make_model
from adatad_jax.conversion.detector import convert_detector
from adatad_jax.conversion.detector_backbone import other_head
from adatad_jax.conversion.torch_file import read_tensors
from adatad_jax.errors import UserError
from adatad_jax.weights.backbone_store import adapters_note, insert_backbone, load_backbone
from adatad_jax.weights.convert_file import convert_file, read_detector
from adatad_jax.weights.initialize import initialize, parameter_shapes, warn_of_pre_training
from tests.conversion import live_models
from tests.conversion.release_detectors import BACKBONE, Release, Tensors, labels, shapes_alone

ALL, SOME, SIDE, FROZEN = Release(adapters=(0, 1, 2)), Release(adapters=(1,)), Release(side_adapters=2), Release()


def as_tridet(state: Tensors) -> Tensors:
    """Returns the tensors of a TriDet detector, with the names of its SGP blocks and of its trident head."""
    width = 16
    kept = {key: value for key, value in state.items() if not re.match(r"projection\.(stem|branch)|neck\.", key)}
    for block in ("stem.0", "branch.0", "branch.1"):
        for layer in ("psi", "fc", "convw", "convkw", "global_fc"):
            kept[f"projection.{block}.{layer}.weight"] = torch.randn(width, 1, 1)
            kept[f"projection.{block}.{layer}.bias"] = torch.randn(width)
        for layer in ("ln", "gn"):
            kept[f"projection.{block}.{layer}.weight"] = torch.randn(width)
        kept[f"projection.{block}.mlp.0.weight"] = torch.randn(4 * width, width, 1)
    for end in ("start", "end"):
        kept[f"rpn_head.cls_{end}_convs.0.conv.weight"] = torch.randn(width, width, 3)
        kept[f"rpn_head.cls_{end}_head.weight"] = torch.randn(3, width, 3)
    kept["rpn_head.reg_head.weight"] = torch.randn(2 * 17, width, 3)
    return kept


def save(path: Path, release: Release, change: Callable[[Tensors], Tensors] = dict, averaged: bool = True) -> Path:
    states = {"state_dict": change(release.state(0))}
    if averaged:
        states["state_dict_ema"] = change(release.state(1))
    torch.save({**states, "epoch": 1}, path)
    return path


@pytest.mark.parametrize("change", [dict, as_tridet], ids=["AdaTAD", "TriDet"])
@pytest.mark.parametrize("release", [ALL, SOME, SIDE, FROZEN], ids=["all", "some", "side", "none"])
def test_a_training_starts_from_the_detectors_backbone_and_adapters(
    release: Release, change: Callable[[Tensors], Tensors], tmp_path: Path
) -> None:
    """Compares with the conversion of the whole detector, whose averages are evaluated; the head is drawn anew."""
    summary = convert_file(save(tmp_path / "a.pth", release, change), tmp_path / "out", backbone_only=True)
    config = release.config(labels(tmp_path / "labels.txt", 3))
    model, backbone = make_model(config, 3), load_backbone(tmp_path / "out")
    initial = insert_backbone(parameter_shapes(model, config), backbone, model.vit, tmp_path / "out")
    whole = convert_detector(read_tensors(save(tmp_path / "whole.pth", release)), model)
    flat = flax.traverse_util.flatten_dict(whole.params, sep="/") | whole.ema
    expected = {path: leaf for path, leaf in flat.items() if path.startswith("backbone/")}
    found = flax.traverse_util.flatten_dict({"backbone": initial["backbone"]}, sep="/")
    assert expected.keys() == found.keys()
    assert ("backbone/blocks_0_2/tia/gamma" in expected) == (release == ALL)
    for path, leaf in expected.items():
        np.testing.assert_array_equal(found[path], leaf, err_msg=path)
    assert ("TriDet" if change is as_tridet else "AdaTAD detector") in summary
    assert ("training goes on from them" in adapters_note(backbone, model.vit)) == (release != FROZEN)


def test_a_training_is_initialised_with_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    convert_file(save(tmp_path / "a.pth", ALL), tmp_path / "out", backbone_only=True)
    config = ALL.config().with_fields({"weights": str(tmp_path / "out"), "published": 69.03})
    initial = initialize(make_model(config, 1), config, ("action",))
    adapters = load_backbone(tmp_path / "out").adapters
    assert adapters is not None
    found = initial.params["backbone"]["blocks_0_2"]["tia"]
    jax.tree.map(np.testing.assert_array_equal, found, adapters.params)
    assert "training goes on from them" in initial.summary
    assert not caplog.messages


def test_a_file_without_averages_gives_the_weights_as_trained(tmp_path: Path) -> None:
    convert_file(save(tmp_path / "a.pth", ALL, averaged=False), tmp_path / "out", backbone_only=True)
    adapters = load_backbone(tmp_path / "out").adapters
    assert adapters is not None
    gammas = [ALL.state(0)[f"{BACKBONE}blocks.{block}.adapter.gamma"].item() for block in range(3)]
    np.testing.assert_array_equal(adapters.params["gamma"], np.float32(gammas))
    record = json.loads((tmp_path / "out/conversion.json").read_text())
    expected = {"params": {}, "blocks": [0, 1, 2], "side": False, "hidden": 16, "temporal": True}
    assert record["adapters"] == expected


def test_adapters_of_another_kind_than_the_models_are_refused(tmp_path: Path) -> None:
    convert_file(save(tmp_path / "a.pth", ALL), tmp_path / "out", backbone_only=True)
    backbone = load_backbone(tmp_path / "out")
    for release in (SOME, SIDE, dataclasses.replace(ALL, hidden=8)):
        config = release.config().with_fields({"model.tia_ratio": release.hidden / 64})
        vit = make_model(config, 1).vit
        with pytest.raises(UserError, match=r"adapters: the weights have TIA in blocks 0-2, hidden 16, the model"):
            insert_backbone(parameter_shapes(make_model(config, 1), config), backbone, vit, tmp_path / "out")
    assert "not used" in adapters_note(backbone, make_model(FROZEN.config(), 1).vit)


@pytest.mark.parametrize("averaged", [True, False])
def test_a_tridet_detector_is_called_that(averaged: bool, tmp_path: Path) -> None:
    path = save(tmp_path / "a.pth", ALL, as_tridet, averaged)
    for use in (
        lambda: convert_file(path, tmp_path / "out", ALL.config()),
        lambda: convert_file(path),
        lambda: read_detector(path, None, ()),
        lambda: load_backbone(path),
    ):
        with pytest.raises(UserError, match=r"a\.pth: a TriDet detector on an AdaTAD backbone.*--backbone-only"):
            use()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        (["rpn_head.cls_end_head.bias", "rpn_head.cls_head.bias"], "a TriDet detector"),
        (["rpn_head.cls_convs.0.depth_module.conv.weight", "projection.stem.0.psi.weight"], "a DyFADet detector"),
        (["rpn_head.tem_head.convs.0.weight", "roi_head.x.weight"], "a VSGN detector"),
        (["projection.stem.0.mamba.A_log", "rpn_head.cls_head.weight"], "a VideoMambaSuite detector"),
        (["projection.stem.0.block.in_proj.weight", "rpn_head.cls_head.weight"], "a CausalTAD detector"),
        (["transformer.encoder.layers.0.norm1.weight"], "a TadTR detector"),
        (["roi_head.proposal_head.conv.weight", "projection.convs.0.weight"], "a two-stage detector"),
        (["rpn_head.scale.0.scale", "rpn_head.scale.1.scale", "rpn_head.cls_head.weight"], "a TemporalMaxer detector"),
        (["something.new.weight", "rpn_head.another.bias"], "a detector of an unknown head"),
    ],
)
def test_heads_by_their_tensors(keys: list[str], name: str) -> None:
    assert other_head([f"{BACKBONE}patch_embed.projection.weight", *keys]) == name
    assert other_head(keys) is None  # on no AdaTAD backbone


@pytest.mark.parametrize("release", [ALL, SIDE, FROZEN, Release(branch=0, adapters=(0,)), Release(stem=0, embed=1)])
def test_adatads_own_head_is_no_other(release: Release) -> None:
    assert other_head(shapes_alone(release)) is None
    damaged = [key for key in release.shapes() if "cls_head" not in key and "stem" not in key]
    assert other_head([*damaged, "rpn_head.strange"]) is None


@pytest.mark.parametrize("key", ["rpn_head.centerness.weight", "backbone.strange"])
def test_a_head_with_tensors_of_its_own_is_offered_its_backbone(key: str, tmp_path: Path) -> None:
    path = save(tmp_path / "a.pth", ALL, lambda state: {**state, key: torch.ones(1)}, averaged=False)
    with pytest.raises(UserError, match=re.escape(key)) as raised:
        convert_file(path, tmp_path / "out", ALL.config(labels(tmp_path / "labels.txt", 3)))
    assert ("--backbone-only" in str(raised.value)) == key.startswith("rpn_head.")


def test_what_has_no_detectors_backbone(tmp_path: Path) -> None:
    live = live_models.make("model")
    torch.save(live_models.to_mmaction(live), tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth: not a detector .*--backbone-only"):
        convert_file(tmp_path / "a.pth", tmp_path / "out", backbone_only=True)
    with pytest.raises(UserError, match=r"b\.pth: .*--backbone-only"):
        load_backbone(save(tmp_path / "b.pth", ALL))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state, key: state.pop(key), r"missing: .*adapter\.gamma"),
        (lambda state, key: state.update({key: torch.ones(2)}), r"wrong shape: .*adapter\.gamma is \(2,\)"),
        (lambda state, key: state.update({key: torch.ones(1, dtype=torch.int32)}), r"wrong type: .*adapter\.gamma"),
        (lambda state, key: state.update({f"{key}2": torch.ones(1)}), r"unknown: .*adapter\.gamma2"),
        (lambda state, key: state.pop(key.replace("gamma", "down_proj.weight")), r"missing: .*down_proj\.weight"),
        (lambda state, key: state.update({f"{BACKBONE}ladders.adapters.0.gamma": torch.ones(1)}), r"two kinds"),
        (lambda state, key: state.update({f"{BACKBONE}new.weight": torch.ones(1)}), r"unknown: .*new\.weight"),
    ],
)
def test_adapters_that_are_not_whole(change: Callable, message: str, tmp_path: Path) -> None:
    state = ALL.state(0)
    change(state, f"{BACKBONE}blocks.1.adapter.gamma")
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(UserError, match=message):
        convert_file(tmp_path / "a.pth", tmp_path / "out", backbone_only=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["decoder", "encoder alone", "fine-tuned"])
def test_pre_training_alone_is_said(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A published recipe warns at the start of a training; the conversion summary says it always."""
    live = live_models.make("model", hidden_size=64, num_hidden_layers=3, intermediate_size=256, num_attention_heads=2)
    state = live_models.to_original(live, pre_training=kind != "fine-tuned")
    if kind == "encoder alone":
        state = {key: value for key, value in state.items() if not key.startswith(("decoder", "encoder_to", "mask_"))}
    torch.save({"model": state}, tmp_path / "a.pth")
    summary = convert_file(tmp_path / "a.pth", tmp_path / "out")
    expected = kind != "fine-tuned"
    assert ("pre-training without fine-tuning" in summary) == expected
    for weights in ("a.pth", "out"):
        for published in (0.0, 69.03):
            caplog.clear()
            fields = {"weights": str(tmp_path / weights), "weights_from": "the authors' page", "published": published}
            warn_of_pre_training(load_backbone(tmp_path / weights), ALL.config().with_fields(fields))
            assert len(caplog.messages) == (expected and published > 0)
            assert all("69.03" in line and "the authors' page" in line and weights in line for line in caplog.messages)


def test_foreign_classes_are_in_the_summary(tmp_path: Path) -> None:
    beside = {"meta": {"when": np.datetime64("2024-01-01"), "path": Path("x")}}
    torch.save({"state_dict": ALL.state(0), **beside}, tmp_path / "a.pth")
    config = ALL.config(labels(tmp_path / "labels.txt", 3))
    summary = convert_file(tmp_path / "a.pth", tmp_path / "out", config)
    assert re.search(r"foreign .*\bpathlib\.\w+ \(1\)", summary)
    assert re.search(r"pathlib\.\w+ \(1\)", json.loads((tmp_path / "out/conversion.json").read_text())["account"])
    assert re.search(r"note .*pathlib\.\w+ \(1\)", convert_file(tmp_path / "a.pth", backbone_only=True))
    whole, _ = read_detector(tmp_path / "a.pth", config, ())
    jax.tree.map(
        np.testing.assert_array_equal,
        whole.params,
        convert_detector(read_tensors(tmp_path / "a.pth"), make_model(config, 3)).params,
    )
