"""Groups, clipping, bias correction and schedule, compared with torch and with cases worked out by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adatad_jax.errors import UserError
from adatad_jax.training.optimizer import OptimizerConfig, clip_by_global_norm, make_optimizer
from adatad_jax.training.parameters import (
    decays,
    detector_groups,
    group_norms,
    label,
    merge,
    parameter_groups,
    split,
    trained_groups,
)
from adatad_jax.training.schedule import FLOOR, warmup_cosine
from tests import records

pytestmark = pytest.mark.usefixtures("fully_compiled")

CONFIG = records.optimizer_config(tia_rate=2e-3, head_rate=1e-3)
FULL = dataclasses.replace(CONFIG, backbone_rate=1e-4)
PARAMS = {
    "backbone": {
        "patch_embed": {"kernel": np.full((3, 2), 0.5, np.float32)},
        "blocks_0_0": {
            "attn": {"q_bias": np.full((1, 2), 0.5, np.float32)},
            "tia": {"gamma": np.full((1,), 0.5, np.float32), "up": {"bias": np.full((1, 2), 0.5, np.float32)}},
        },
    },
    "detector": {
        "projection": {"embed_0": {"conv": {"kernel": np.full((3, 2, 2), 0.5, np.float32)}}},
        "neck": {"norm_0": {"scale": np.full((2,), 0.5, np.float32)}},
        "head": {"scale": np.full((2,), 0.5, np.float32)},
    },
}


def test_every_leaf_has_one_group() -> None:
    groups = parameter_groups(PARAMS, CONFIG.rates, CONFIG.weight_decay)
    assert [(g.name, g.tensors, g.parameters, g.rate, g.weight_decay) for g in groups] == [
        ("frozen", 2, 8, 0.0, 0.0),
        ("tia", 2, 3, 2e-3, 0.05),
        ("head", 1, 12, 1e-3, 0.05),
        ("head", 2, 4, 1e-3, 0.0),
    ]


def test_full_fine_tuning_trains_all_but_positions_of_a_file() -> None:
    params = {**PARAMS, "backbone": {**PARAMS["backbone"], "pos_embed": np.zeros((4, 2), np.float32)}}
    groups = parameter_groups(params, FULL.rates, FULL.weight_decay, detector_groups(full=True))
    assert [(g.name, g.tensors, g.parameters, g.rate, g.weight_decay) for g in groups[:2]] == [
        ("frozen", 1, 8, 0.0, 0.0),
        ("backbone", 2, 8, 1e-4, 0.05),
    ]


@pytest.mark.parametrize("path", [("backbones", "x"), ("detector", "stem", "kernel"), ("optimizer", "tia")])
def test_a_parameter_of_no_group_is_an_error(path: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="/".join(path)):
        label(path)


def test_split_and_merge_are_inverse() -> None:
    trainable, frozen = split(PARAMS)
    assert len(jax.tree.leaves(trainable)) == 5
    assert len(jax.tree.leaves(frozen)) == 2
    jax.tree.map(np.testing.assert_array_equal, merge(trainable, frozen), PARAMS)


def test_norms_of_groups_by_hand() -> None:
    full = {
        "backbone": {"blocks_0": {"tia": {"up": np.array([3.0, 4.0])}, "mlp": np.array([[2.0], [-1.0]])}},
        "detector": {"neck": {"bias": np.array([5.0])}, "head": {"kernel": np.array([12.0])}},
    }
    norms = group_norms(full, detector_groups(full=True))
    assert {name: float(norm) for name, norm in norms.items()} == pytest.approx(
        {"tia": 5.0, "backbone": 5**0.5, "head": 13.0}
    )
    trained, _ = split(PARAMS)
    assert group_norms(trained).keys() == {"tia", "head"}
    assert trained_groups(trained) == ["tia", "head"]


def test_updates_of_frozen_parameters_are_zero() -> None:
    optimizer = make_optimizer(CONFIG)
    gradients = jax.tree.map(np.ones_like, PARAMS)
    state = optimizer.init(PARAMS)
    for _ in range(2):  # the rate of the very first step is 0
        updates, state = optimizer.update(gradients, state, PARAMS)
    trained, frozen = split(updates)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(frozen))
    assert all(np.all(leaf) for leaf in jax.tree.leaves(trained))


def test_no_optimizer_state_of_frozen_size_exists() -> None:
    state = make_optimizer(CONFIG).init(split(PARAMS)[0])
    # Two moments of the 5 trainable leaves, 19 parameters; the rest are step counters.
    sizes = [leaf.size for leaf in jax.tree.leaves(state) if leaf.ndim]
    assert len(sizes) == 10
    assert sum(sizes) == 2 * 19


@settings(deadline=None)
@given(norm=st.floats(0.2, 5))
def test_clip_follows_torch_near_its_limit(norm: float) -> None:
    gradient = np.array([0.6, 0.8], np.float32) * np.float32(norm)
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.from_numpy(gradient.copy())
    torch.nn.utils.clip_grad_norm_([parameter], 1.0)
    clipped, _ = clip_by_global_norm(1.0).update({"w": jnp.asarray(gradient)}, optax.EmptyState())
    np.testing.assert_allclose(clipped["w"], parameter.grad.numpy(), rtol=3e-7)


def test_clip_keeps_its_1e_6() -> None:
    """With a norm equal to the limit of 1e-3, the 1e-6 scales by 1 / 1.001."""
    clipped, _ = clip_by_global_norm(1e-3).update({"w": jnp.array([1e-3])}, optax.EmptyState())
    np.testing.assert_allclose(clipped["w"], 1e-3 / 1.001, rtol=1e-6)  # limit / (norm + 1e-6), both 1e-3


@pytest.mark.parametrize("config", [CONFIG, FULL], ids=["adapters", "full"])
def test_updates_equal_torch_adamw(config: OptimizerConfig) -> None:
    """Compares five steps of each trained leaf; gradients differ in size so that some steps are clipped."""
    optimizer = make_optimizer(config)
    params = split(PARAMS, detector_groups(config.full))[0]
    state = optimizer.init(params)
    highest = {"tia": 2e-3, "head": 1e-3, "backbone": 1e-4}
    rates = {name: warmup_cosine(rate, 2, 20, 10) for name, rate in highest.items()}
    names = [tuple(key.key for key in path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    theirs = [torch.nn.Parameter(torch.from_numpy(np.array(leaf))) for leaf in jax.tree.leaves(params)]
    adamw = torch.optim.AdamW(
        [{"params": [p], "weight_decay": 0.05 if decays(n) else 0.0} for n, p in zip(names, theirs, strict=True)],
        lr=0.0,
    )
    rng = np.random.default_rng(0)
    for step in range(5):
        gradients = [rng.normal(size=p.shape).astype(np.float32) * 10.0 ** (step - 3) for p in theirs]
        for group, name, parameter, gradient in zip(adamw.param_groups, names, theirs, gradients, strict=True):
            group["lr"] = rates[label(name, config.full)][step]
            parameter.grad = torch.from_numpy(gradient.copy())
        torch.nn.utils.clip_grad_norm_(theirs, 1.0)
        adamw.step()
        updates, state = optimizer.update(jax.tree.unflatten(jax.tree.structure(params), gradients), state, params)
        params = optax.apply_updates(params, updates)
    for ours, torch_parameter in zip(jax.tree.leaves(params), theirs, strict=True):
        np.testing.assert_allclose(ours, torch_parameter.detach().numpy(), rtol=0, atol=2e-7)


def test_schedule_at_its_corners() -> None:
    rates = warmup_cosine(1e-4, 500, 10_000, 10_001)
    assert rates[0] == 0
    np.testing.assert_allclose(rates[1], 1e-4 / 499, rtol=1e-12)
    np.testing.assert_allclose(rates[[499, 500]], 1e-4, rtol=1e-12)
    np.testing.assert_allclose(rates[5250], FLOOR + (1e-4 - FLOOR) / 2, rtol=1e-12)  # half of the cosine
    np.testing.assert_allclose(rates[10_000], FLOOR, rtol=1e-12)


@pytest.mark.parametrize(("warmup", "total"), [(1, 10), (0, 10), (10, 10)])
def test_impossible_schedule_is_refused(warmup: int, total: int) -> None:
    with pytest.raises(UserError, match=rf"\b{warmup} warm-up\b.*\b{total}\b.*\bconfig\.train\.warmup_epochs\b"):
        make_optimizer(dataclasses.replace(CONFIG, warmup_steps=warmup, schedule_steps=total))
