"""Conversion of a whole detector: where its tensors go, and all tensors that must be refused."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest
import torch

from adatad_jax.config.build import make_model
from adatad_jax.conversion.detector import check_parameters, convert_detector
from adatad_jax.conversion.dimensions import read_dimensions
from adatad_jax.conversion.torch_file import TensorFile
from adatad_jax.errors import UserError
from adatad_jax.weights.choose_config import misfits
from tests.conversion.release_detectors import BACKBONE, Release, Tensors, shapes_alone

TIA = Release(adapters=(0, 1, 2))
SOURCE = Path("detector.pth")


def as_numpy(state: Tensors) -> dict[str, np.ndarray]:
    return {key: value.numpy() for key, value in state.items()}


def file_of(state: Tensors, averaged: Tensors | None = None) -> TensorFile:
    return TensorFile(SOURCE, as_numpy(state), as_numpy(averaged or {}), {})


def test_which_blocks_side_adapters_read_is_the_configuration_s_word() -> None:
    release = Release(side_adapters=2)
    config = release.config(Path("labels.txt"))
    shown = read_dimensions(shapes_alone(release), SOURCE)
    config = config.with_fields({"model.tia_blocks": "0,2"})
    assert misfits(shown, config, 3) == []
    config = config.with_fields({"model.tia_blocks": "2"})
    assert len(misfits(shown, config, 3)) == 1
    config = config.with_fields({"model.tia_blocks": "0,2"})
    state = release.state(0)
    params = convert_detector(file_of(state), make_model(config, 3)).params["backbone"]
    for block, adapter in ((0, 0), (2, 1)):
        np.testing.assert_array_equal(
            params[f"blocks_{block}_{block}"]["tia"]["up"]["kernel"][0],
            state[f"{BACKBONE}ladders.adapters.{adapter}.up_proj.weight"].T,
        )


def test_values_land_where_their_names_say() -> None:
    state, averaged = TIA.state(0), TIA.state(1)
    for key in state:
        if key.startswith(f"{BACKBONE}blocks.1."):
            averaged[key] = state[key]
    detector = convert_detector(file_of(state, averaged), make_model(TIA.config(), 3))
    blocks, head = detector.params["backbone"]["blocks_0_2"], detector.params["detector"]["head"]
    np.testing.assert_array_equal(blocks["attn"]["qkv"]["kernel"][1], state[f"{BACKBONE}blocks.1.attn.qkv.weight"].T)
    np.testing.assert_array_equal(  # [out, 1, k] -> [k, 1, out]
        blocks["tia"]["depthwise"]["kernel"][2], state[f"{BACKBONE}blocks.2.adapter.dwconv.weight"].permute(2, 1, 0)
    )
    np.testing.assert_array_equal(
        head["class_tower"]["out"]["kernel"], state["rpn_head.cls_head.weight"].permute(2, 1, 0)
    )
    np.testing.assert_array_equal(head["scale"], [state[f"rpn_head.scale.{level}.scale"] for level in range(3)])
    np.testing.assert_array_equal(
        detector.ema["detector/head/class_tower/out/bias"], averaged["rpn_head.cls_head.bias"]
    )
    assert (detector.read, detector.mapped) == (len(state), len(state) - 4)
    assert len(detector.kept) == 4
    assert detector.states == ("state_dict", "state_dict_ema")


def test_only_what_differs_has_an_average_of_its_own() -> None:
    state = TIA.state(0)
    averaged = dict(state)
    averaged["projection.embed.1.norm.bias"] = state["projection.embed.1.norm.bias"] + 1
    detector = convert_detector(file_of(state, averaged), make_model(TIA.config(), 3))
    assert list(detector.ema) == ["detector/projection/embed_1/norm/bias"]
    arrays = len(jax.tree.leaves(detector.params))
    assert re.search(rf"^averages .*\b1 of {arrays} arrays\b", detector.summary(), re.MULTILINE)
    without = convert_detector(file_of(state), make_model(TIA.config(), 3))
    assert re.search(r"^averages .*\bnone\b", without.summary(), re.MULTILINE)
    tensors = as_numpy(state)
    alone = convert_detector(TensorFile(SOURCE, tensors, tensors, {}), make_model(TIA.config(), 3))
    assert (alone.ema, alone.states) == ({}, ("state_dict_ema",))
    assert re.search(r"^averages .*\bonly\b.*\bevaluated\b", alone.summary(), re.MULTILINE)


def test_positions_within_1e_6_are_recomputed_and_others_used() -> None:
    state = TIA.state(0)
    table = state[f"{BACKBONE}pos_embed"]
    model = make_model(TIA.config(), 3)
    state[f"{BACKBONE}pos_embed"] = table + 5e-7
    assert "pos_embed" not in convert_detector(file_of(state), model).params["backbone"]
    state[f"{BACKBONE}pos_embed"] = table + 2e-6
    detector = convert_detector(file_of(state), model)
    np.testing.assert_array_equal(detector.params["backbone"]["pos_embed"], table[0] + 2e-6)
    assert f"{BACKBONE}pos_embed" not in detector.kept
    assert re.search(rf"^{re.escape(BACKBONE)}pos_embed: .*\bfile's own\b", detector.summary(), re.MULTILINE)
    check_parameters(detector.params, model, SOURCE)


def test_every_tensor_that_does_not_fit_is_listed_with_its_state() -> None:
    state, averaged = TIA.state(0), TIA.state(1)
    del state["neck.fpn_norms.1.bias"]
    state[f"{BACKBONE}blocks.1.norm1.weight"] = torch.zeros(65)
    state["projection.stem.0.attn.query.weight"] = torch.zeros(16, 16)
    state["neck.lateral_convs.0.weight"] = torch.zeros(16, 16, 1)
    state["rpn_head.reg_head.bias"] = torch.zeros(2, dtype=torch.int64)
    averaged[f"{BACKBONE}fc_norm.bias"] = torch.zeros(3)
    averaged["rpn_head.loss_normalizer"] = torch.ones(3)
    with pytest.raises(UserError) as caught:
        convert_detector(file_of(state, averaged), make_model(TIA.config(), 3))
    message = str(caught.value)
    assert message.startswith("detector.pth: 7 tensors ")
    for line in (
        "missing: neck.fpn_norms.1.bias (in state_dict)",
        f"wrong shape: {BACKBONE}blocks.1.norm1.weight is (65,), expected (64,) (in state_dict)",
        "wrong shape: projection.stem.0.attn.query.weight is (16, 16), expected (16, 16, 1) (in state_dict)",
        "unknown: neck.lateral_convs.0.weight (16, 16, 1) (in state_dict)",
        "wrong type: rpn_head.reg_head.bias is int64, expected floating point (in state_dict)",
        f"wrong shape: {BACKBONE}fc_norm.bias is (3,), expected (64,) (in state_dict_ema)",
        "wrong shape: rpn_head.loss_normalizer is (3,), expected () (in state_dict_ema)",
    ):
        assert f"\n  {line}" in message


def test_parameters_of_other_sizes_than_the_configuration_are_listed() -> None:
    params = convert_detector(file_of(TIA.state(0)), make_model(TIA.config(), 3)).params
    check_parameters(params, make_model(TIA.config(), 3), SOURCE)
    config = TIA.config()
    config = config.with_fields({"model.head_convs": 1, "model.image_size": 48})
    with pytest.raises(UserError) as caught:
        check_parameters(jax.tree.map(np.asarray, params), make_model(config, 5), SOURCE)
    message = str(caught.value)
    assert re.search(r"\bdetector/head/class_tower/out/bias: .*\(3,\).*\(5,\)$", message, re.MULTILINE)
    assert re.search(r"\bdetector/head/boundary_tower/conv_1/norm/bias: .*\(16,\).*\bnothing$", message, re.MULTILINE)
