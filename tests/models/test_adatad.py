"""The whole model: parameter counts, padding, and attention in local windows."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adatad_jax.errors import UserError
from adatad_jax.models.adatad import ActionFormer, AdaTAD
from adatad_jax.models.attention import local_attention
from adatad_jax.models.positions import bicubic_weights, linear_weights
from adatad_jax.models.sizes import SIZES
from tests import records


def count(tree: dict) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def test_size_s_has_the_published_number_of_parameters() -> None:
    """Compares with the release: ViT 21,879,936 with an unused norm of 768; TIA 1,006,860; detector 26,695,708."""
    vit = dataclasses.replace(SIZES["S"], tia_blocks=tuple(range(12)), tia_hidden=96)
    model = AdaTAD(vit, records.detector_config(classes=20))
    frames, mask = jnp.zeros((1, 32, 160, 160, 3), jnp.uint8), jnp.ones((1, 32), bool)
    params = jax.eval_shape(model.init, jax.random.key(0), frames, mask)["params"]
    tia = params["backbone"]["blocks_0_11"].pop("tia")
    assert count(tia) == 1_006_860
    assert count(params["backbone"]) == 21_879_936 - 768
    assert {name: count(part) for name, part in params["detector"].items()} == {
        "projection": 23_505_920,
        "neck": 6_144,
        "head": 3_183_644,
    }


@settings(max_examples=25, deadline=None)
@given(
    length=st.integers(1, 70),
    window=st.sampled_from([3, 5, 9, 37, 81]),
    valid=st.integers(1, 70),
    seed=st.integers(0, 99),
)
def test_local_attention_equals_masked_full_attention(length: int, window: int, valid: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    q, k, v = inputs = rng.normal(size=(3, 1, length, 2, 4)).astype(np.float32).astype(np.float64)
    mask = np.arange(length)[None] < min(valid, length)
    logits = np.einsum("bqhd,bkhd->bhqk", q, k)
    distance = np.abs(np.arange(length)[:, None] - np.arange(length))
    logits = np.where((distance <= window // 2) & mask[:, None, None], logits, -np.inf)
    # Only invalid rows see no valid key. Their output is masked later, and only must not be NaN.
    weights = np.exp(logits - logits.max(-1, keepdims=True, initial=-1e30))
    weights /= np.maximum(weights.sum(-1, keepdims=True), 1e-30)
    expected = np.einsum("bhqk,bkhd->bqhd", weights, v)
    got = np.asarray(local_attention(*map(jnp.asarray, inputs.astype(np.float32)), jnp.asarray(mask), window))
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got[mask], expected[mask], rtol=0, atol=1e-5)


def test_invalid_positions_do_not_reach_valid_outputs() -> None:
    config = records.detector_config(2, width=16, heads=2, max_length=64)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(1, 64, 8)).astype(np.float32)
    mask = np.arange(64)[None] < 40
    model = ActionFormer(config)
    params = jax.jit(model.init)(jax.random.key(0), features, mask)
    apply = jax.jit(model.apply)
    # The first convolution comes before the mask (the release's rule), so neighbours see a position: leave two out.
    changed = features.copy()
    changed[:, 42:] += 5
    for got, other, valid in zip(
        apply(params, features, mask).logits,
        apply(params, changed, mask).logits,
        apply(params, features, mask).masks,
        strict=True,
    ):
        np.testing.assert_array_equal(np.asarray(got)[valid], np.asarray(other)[valid])


def test_pyramid_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match=r"\b100\b.*\b32\b"):
        records.detector_config(5, max_length=100)
    # A reach of 9 on each side: twice that at the coarsest stride of 32.
    assert records.detector_config(5, windows=(19,) * 6, max_length=32 * 18).length_factor == 32 * 18
    with pytest.raises(UserError, match=r"\b5 levels\b.*\b6\b.*\b6\b"):
        records.detector_config(5, branch=4)
    with pytest.raises(UserError, match=r"\bwindow 2\b.*\bodd\b"):
        records.detector_config(5, windows=(2,) * 6)


@pytest.mark.parametrize("where", ["dropout", "input_dropout"])
def test_dropout_acts_in_training_alone_and_is_drawn_per_step_and_sample(where: str) -> None:
    ranges = ((0.0, 4.0), (4.0, 10000.0))
    sizes = {"width": 16, "heads": 2, "embed": 1, "stem": 1, "branch": 1, "windows": (None, None)}
    config = records.detector_config(2, max_length=32, regression_ranges=ranges, drop_path=0.0, **sizes)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    features, mask = rng.normal(size=(1, 32, 8)).astype(np.float32), np.ones((1, 32), bool)
    params = jax.jit(ActionFormer(config).init)(jax.random.key(0), features, mask)
    apply = jax.jit(ActionFormer(dataclasses.replace(config, **{where: 0.3})).apply)
    plain = jax.jit(ActionFormer(config).apply)(params, features, mask).logits[0]
    np.testing.assert_array_equal(apply(params, features, mask).logits[0], plain)

    def draw(seed: int, sample: int) -> jax.Array:
        ids, key = jnp.array([sample]), jax.random.key(seed)
        return apply(params, features, mask, ids, rngs={"dropout": key}).logits[0]

    assert (draw(0, 0) != plain).any()
    np.testing.assert_array_equal(draw(0, 0), draw(0, 0))
    assert (draw(0, 0) != draw(0, 1)).any()
    assert (draw(0, 0) != draw(1, 0)).any()


def test_training_longer_than_the_window_is_refused() -> None:
    config = records.detector_config(2, width=16, heads=2, max_length=32)
    features, mask = jnp.zeros((1, 64, 8)), jnp.ones((1, 64), bool)
    with pytest.raises(ValueError, match=r"\(1, 64, 8\).*\b32\b"):
        ActionFormer(config).init(jax.random.key(0), features, mask, jnp.zeros(1, jnp.int32))


def test_resize_weights_at_worked_positions() -> None:
    # Linear, 2 -> 4: output 1 sits at source 0.25: 0.75 and 0.25 of its neighbours; the ends are clamped.
    np.testing.assert_allclose(linear_weights(2, 4), [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    # Cubic with A = -0.75 half way between two samples: 0.59375 for the near, -0.09375 for the far taps.
    middle = bicubic_weights(8, 4)[1]
    np.testing.assert_allclose(middle, [0, -0.09375, 0.59375, 0.59375, -0.09375, 0, 0, 0], atol=1e-7)
