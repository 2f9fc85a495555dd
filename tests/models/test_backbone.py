"""Properties of the backbone that the reference files do not show."""

import dataclasses
import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adatad_jax.devices.mapping import AXIS
from adatad_jax.devices.window_shares import WindowShares
from adatad_jax.errors import UserError
from adatad_jax.models.backbone import Backbone
from adatad_jax.models.encoder import PYTORCH, Block, drop_path_rates
from adatad_jax.models.layers import LayerNorm, depth_factors, dropout
from adatad_jax.models.policy import MemoryPolicy
from adatad_jax.models.sizes import SIZES
from tests.models.small_backbone import SMALL, frames, moved_params


def test_adapters_are_the_only_path_across_chunks() -> None:
    changed = frames()
    changed[:, 16:32] = 255 - changed[:, 16:32]
    for blocks, reaches_neighbour in (((), False), ((1,), True)):
        config = dataclasses.replace(SMALL, tia_blocks=blocks, tia_hidden=8)
        params = {"params": moved_params(config)}
        apply = jax.jit(Backbone(config).apply)
        difference = np.abs(apply(params, frames()) - apply(params, changed)).max((0, 2))
        assert difference[8:16].min() > 0
        # One adapter reaches one tubelet beyond the chunk on each side, and no further.
        assert (difference[[7, 16]] > 0).tolist() == [reaches_neighbour] * 2
        assert not difference[:7].any()
        assert not difference[17:].any()


def test_plain_adapters_are_no_path_across_chunks() -> None:
    config = dataclasses.replace(SMALL, temporal=False)
    params = {"params": moved_params(config)}
    assert params["params"]["blocks_0_1"]["tia"].keys() == {"gamma", "down", "up"}
    changed = frames()
    changed[:, 16:32] = 255 - changed[:, 16:32]
    apply = jax.jit(Backbone(config).apply)
    difference = np.abs(apply(params, frames()) - apply(params, changed)).max((0, 2))
    assert difference[8:16].min() > 0
    assert not difference[:8].any()
    assert not difference[16:].any()


GROUPS = MemoryPolicy(remat=True, attention_chunks=2, mlp_chunks=1)  # of the 3 chunks of a window: one group of 1


@pytest.mark.parametrize(
    ("changes", "policies"),
    [
        ({}, [MemoryPolicy(), GROUPS]),
        ({"side": True}, [GROUPS]),
        pytest.param({"temporal": False}, [GROUPS], marks=pytest.mark.slow),
        pytest.param({"tia_blocks": (1,), "depth": 3}, [GROUPS], marks=pytest.mark.slow),
    ],
    ids=["in blocks", "beside", "plain", "between plain blocks"],
)
def test_loops_groups_and_recomputation_change_nothing(changes: dict, policies: list[MemoryPolicy]) -> None:
    """Features, and the gradients of all parameters, against every block by itself with attention as it is defined."""
    config = dataclasses.replace(SMALL, **changes)
    params = moved_params(config)

    def run(**options: Any) -> tuple[jax.Array, dict]:
        def features(p: dict) -> jax.Array:
            return Backbone(config, **options).apply({"params": p}, frames())

        return jax.jit(lambda p: (features(p), jax.grad(lambda q: features(q).sum())(p)))(params)

    plain, gradient = run(unroll=True)
    for policy in policies:
        other, its_gradient = run(policy=policy)
        np.testing.assert_allclose(other, plain, rtol=0, atol=1e-5)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), its_gradient, gradient)


def test_a_policy_draws_the_same_and_rounds_what_is_kept_alone() -> None:
    """Features in training are the same to the last digits; gradients differ by the rounding of the kept stream."""
    config = dataclasses.replace(SMALL, drop_path=0.5)
    params, ids, windows = moved_params(config), np.arange(2), frames(batch=2)

    def run(policy: MemoryPolicy) -> tuple[jax.Array, dict]:
        model, key = Backbone(config, policy=policy), jax.random.key(1)

        def total(tia: dict) -> tuple[jax.Array, jax.Array]:
            of_blocks = {"blocks_0_1": {**params["blocks_0_1"], "tia": tia}}
            features = model.apply({"params": {**params, **of_blocks}}, windows, ids, rngs={"dropout": key})
            return (features**2).sum(), features

        gradient, features = jax.jit(jax.grad(total, has_aux=True))(params["blocks_0_1"]["tia"])
        return features, gradient

    features, gradient = run(MemoryPolicy(remat=True))
    rounded, its_gradient = run(dataclasses.replace(GROUPS, stream_dtype=jnp.bfloat16))
    np.testing.assert_allclose(rounded, features, rtol=0, atol=1e-5)
    differences = jax.tree.leaves(
        jax.tree.map(lambda a, b: np.abs(a - b).max() / np.abs(b).max(), its_gradient, gradient)
    )
    assert 1e-5 < max(differences) < 2**-7


def test_on_cuda_no_frozen_weight_is_cast_in_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """VideoMAE-S in bfloat16, lowered: whole stacks are cast, before the loops, and no block's kernel is."""
    monkeypatch.setattr("jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version", lambda: 91000)
    config = dataclasses.replace(SIZES["S"], depth=3, tia_blocks=(0, 1, 2), tia_hidden=96)
    model = Backbone(config, jnp.bfloat16, policy=MemoryPolicy(remat=True))
    windows = jax.ShapeDtypeStruct((1, 64, 160, 160, 3), jnp.uint8)
    params = jax.eval_shape(model.init, jax.random.key(0), windows)["params"]

    def gradient(tia: dict, params: dict, windows: jax.Array) -> dict:
        def total(tia: dict) -> jax.Array:
            blocks = {"blocks_0_2": {**params["blocks_0_2"], "tia": tia}}
            return model.apply({"params": {**params, **blocks}}, windows).sum()

        return jax.grad(total)(tia)

    traced = jax.jit(gradient).trace(params["blocks_0_2"]["tia"], params, windows)
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    casts = re.findall(r"stablehlo.convert .*\(tensor<([\dx]+)xf32>\) -> tensor<[\dx]+xbf16>", text)
    kernels = ("384x1152", "384x384", "384x1536", "1536x384")
    assert {cast for cast in casts if cast.endswith(kernels)} >= {f"3x{kernel}" for kernel in kernels}
    # (The patch embedding, outside of loops, has the shape of the last.)
    assert not {cast for cast in casts if cast.removeprefix("1x") in kernels[:3]}
    assert "fmhaSoftmaxBackward(" in text
    assert "800x800" not in text


# Adapters in all blocks are tested with the whole step.
@pytest.mark.parametrize(
    "changes",
    [{"side": True, "depth": 3}, pytest.param({"tia_blocks": (1,)}, marks=pytest.mark.slow)],
    ids=["beside", "in one block"],
)
def test_devices_that_share_windows_compute_as_one(changes: dict) -> None:
    """Features and gradients of two windows of 3 chunks, a chunk on each of 3 devices, in training."""
    config = dataclasses.replace(SMALL, drop_path=0.5, **changes)
    params, key = moved_params(config), jax.random.key(1)
    windows, ids = frames(batch=2), np.arange(4, 6)
    weights = np.random.default_rng(1).normal(size=(2, 24, 32)).astype(np.float32)
    shares = WindowShares(3)

    def run(model: Backbone, p: dict, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        features = model.apply({"params": p}, x, ids, rngs={"dropout": key})
        total = (features * weights).sum()
        return (total if model.shares is None else shares.once(total)), features

    def shared(p: dict, x: jax.Array) -> tuple[jax.Array, dict]:
        gradient, features = jax.grad(
            lambda q: run(Backbone(config, policy=MemoryPolicy(remat=True), shares=shares), q, x), has_aux=True
        )(p)
        return features, jax.lax.psum(gradient, AXIS)

    gradient, features = jax.jit(jax.grad(lambda q: run(Backbone(config), q, windows), has_aux=True))(params)
    stretches = windows.reshape(2, 3, 16, 32, 32, 3).swapaxes(0, 1)
    ours, its_gradient = jax.pmap(shared, axis_name=AXIS, in_axes=(None, 0))(params, stretches)
    for device in range(3):
        np.testing.assert_allclose(ours[device], features, rtol=1e-5, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[0], b, rtol=1e-4, atol=1e-4), its_gradient, gradient)


def test_side_adapters_add_to_the_last_chosen_block_and_send_no_gradient_into_the_blocks() -> None:
    config = dataclasses.replace(SMALL, depth=3, side=True)  # blocks 0 and 1 of 3
    fresh = jax.jit(Backbone(config).init)(jax.random.key(0), frames())["params"]
    plain = dataclasses.replace(SMALL, tia_blocks=(), tia_hidden=0)  # 2 blocks
    blocks = {"patch_embed": fresh["patch_embed"], "blocks_0_1": {**fresh["blocks_0_1"]}}
    del blocks["blocks_0_1"]["tia"]
    expected = jax.jit(Backbone(plain).apply)({"params": blocks}, frames())
    # Adapters have no effect at the start, and blocks after the last adapter have none at all.
    found = jax.jit(Backbone(config).apply)({"params": fresh}, frames())
    np.testing.assert_allclose(found, expected, atol=1e-6)

    moved = moved_params(config)
    gradient = jax.jit(jax.grad(lambda p: Backbone(config).apply({"params": p}, frames()).sum()))(moved)
    adapters = gradient["blocks_0_1"].pop("tia")
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(adapters))
    assert not any(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient))


def test_layer_norm_uses_its_epsilon() -> None:
    """For inputs of variance 1e-4, eps 1e-6 gives a factor of 1/sqrt(1.01), and 1e-5 one of 1/sqrt(1.1)."""
    x = jnp.array([[0.01, -0.01]])
    norm = LayerNorm(SMALL.norm_eps)
    y = norm.apply(norm.init(jax.random.key(0), x), x)
    np.testing.assert_allclose(y, [[1.01**-0.5, -(1.01**-0.5)]], rtol=1e-5)


def test_layer_norm_keeps_its_digits_far_from_zero() -> None:
    x = jnp.array([[1000.0, 1001.0]])
    norm = LayerNorm(SMALL.norm_eps)
    y = norm.apply(norm.init(jax.random.key(0), x), x)
    np.testing.assert_allclose(y, [[-1, 1]], atol=1e-3)


def test_stochastic_depth_depends_on_the_clip_alone_and_drops_more_of_later_blocks() -> None:
    config = dataclasses.replace(SMALL, drop_path=0.4)

    def draw(clips: jax.Array) -> np.ndarray:
        factors = nn.apply(lambda module: depth_factors(module, drop_path_rates(config), clips), Backbone(config))
        return np.asarray(factors({}, rngs={"dropout": jax.random.key(1)}))

    drawn = draw(jnp.arange(4000))
    assert drawn.shape == (config.depth, 4000, 2)
    for block, factors in enumerate(drawn):
        keep = 1 - 0.4 * block / (config.depth - 1)
        np.testing.assert_allclose(np.unique(factors), [1 / keep] if block == 0 else [0, 1 / keep], rtol=1e-6)
        np.testing.assert_allclose((factors > 0).mean(0), keep, atol=0.04)  # five standard deviations
    parts = [draw(jnp.arange(first, first + 1000)) for first in range(0, 4000, 1000)]
    np.testing.assert_array_equal(np.concatenate(parts, 1), drawn)


def test_stochastic_depth_multiplies_what_a_block_adds() -> None:
    """A block whose factors are 0 changes nothing; one whose factors are 1 is the block outside training."""
    block = Block(SMALL, jnp.float32, PYTORCH)
    x = jax.random.normal(jax.random.key(0), (3, 4, SMALL.width))
    variables = block.init(jax.random.key(1), x, None)
    plain = block.apply(variables, x, None)
    mixed = block.apply(variables, x, jnp.array([[1, 1], [0, 0], [1, 1]], jnp.float32))
    np.testing.assert_array_equal(mixed[1], x[1])
    np.testing.assert_allclose(mixed[::2], plain[::2], rtol=1e-6)
    attention_alone = block.apply(variables, x, jnp.array([[1, 0]] * 3, jnp.float32))
    assert np.abs(attention_alone - plain).max() > 1e-3
    assert np.abs(attention_alone - x).max() > 1e-3


def test_dropout_of_channels_is_the_same_at_all_times() -> None:
    dropped = np.asarray(dropout(jnp.ones((2, 5, 4000)), 0.25, jax.random.key(0), jnp.arange(2), (1, 4000)))
    np.testing.assert_allclose(np.unique(dropped), [0, 1 / 0.75], rtol=1e-6)
    assert (dropped == dropped[:, :1]).all()
    assert (dropped[0] != dropped[1]).any()
    assert abs(float(dropped.mean()) - 1) < 0.04  # standard error 0.0065


def test_runs_group_consecutive_blocks_of_a_kind() -> None:
    config = dataclasses.replace(SIZES["S"], tia_blocks=(0, 1, 5), tia_hidden=96)
    assert config.runs() == [(0, 1, True), (2, 4, False), (5, 5, True), (6, 11, False)]


def test_window_that_is_no_multiple_of_a_chunk_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\b40\b.*\b16\b"):
        Backbone(SMALL).init(jax.random.key(0), frames(length=40))


@pytest.mark.parametrize("blocks", [(0, 0), (1, 0), (2,), (-1,)])
def test_impossible_adapter_blocks_are_refused(blocks: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=re.escape(f"tia_blocks={blocks}")):
        dataclasses.replace(SMALL, tia_blocks=blocks)


def test_side_adapters_without_blocks_are_refused() -> None:
    with pytest.raises(UserError, match=r"\btia_blocks\b.*\bempty\b"):
        dataclasses.replace(SMALL, tia_blocks=(), side=True)
