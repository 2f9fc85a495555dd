"""Every means of attention against its definition, forward and gradient, and what each backend is given."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adatad_jax.models import chunk_attention
from adatad_jax.models.chunk_attention import chunk_attention as attend
from adatad_jax.models.chunk_attention import plain_attention
from adatad_jax.models.layers import Dtype

TOKENS, DIM = 50, 8


def inputs(heads: int, dtype: Dtype, seed: int = 0) -> tuple[jax.Array, jax.Array]:
    """Returns q, k and v of 3 clips, in float32 with logits up to about 50, and a gradient of the output."""
    draw = np.random.default_rng(seed).normal
    size = 4 if dtype == jnp.float32 else 1
    qkv, gradient = size * draw(size=(3, TOKENS, 3 * heads * DIM)), draw(size=(3, TOKENS, heads * DIM))
    return jnp.asarray(qkv, dtype), jnp.asarray(gradient, dtype)


def with_gradient(function: object, qkv: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    @jax.jit
    def run(qkv: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
        out, pull = jax.vjp(function, qkv)
        return out, pull(gradient)[0]

    return run(qkv, gradient)


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 2e-6), (jnp.bfloat16, 2e-2)])
@pytest.mark.parametrize("heads", [1, 4, 3])
def test_it_computes_what_attention_is(heads: int, dtype: Dtype, tolerance: float) -> None:
    qkv, gradient = inputs(heads, dtype)
    exact = [x.astype(jnp.float32) for x in (qkv, gradient)]
    expected = with_gradient(functools.partial(plain_attention, heads=heads), *exact)
    found = with_gradient(lambda x: attend(x, heads), qkv, gradient)
    for ours, its in zip(found, expected, strict=True):
        assert ours.dtype == dtype
        scale = np.abs(its).max()
        np.testing.assert_allclose(ours.astype(jnp.float32) / scale, its / scale, rtol=0, atol=tolerance)


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_any_number_of_heads_at_once_is_the_same(at_once: int) -> None:
    """The loop of GPUs and TPUs, and that of CPUs."""
    qkv, gradient = inputs(4, jnp.float32)
    expected, its_gradient = with_gradient(functools.partial(plain_attention, heads=4), qkv, gradient)
    out, log_sums = jax.jit(functools.partial(chunk_attention._attend, heads=4, at_once=at_once))(qkv)
    back = jax.jit(functools.partial(chunk_attention._attend_backward, heads=4, at_once=at_once))
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(back(qkv, out, log_sums, gradient), its_gradient, rtol=0, atol=2e-4)  # up to 80


def lowered(platform: str, dtype: Dtype, dim: int, heads: int = 6) -> str:
    def gradient(qkv: jax.Array) -> jax.Array:
        return jax.grad(lambda x: attend(x, heads).astype(jnp.float32).sum())(qkv)

    qkv = jax.ShapeDtypeStruct((4, 800, 3 * heads * dim), dtype)
    return jax.jit(gradient).trace(qkv).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("dim", [64, 80, 88])  # of S, B and L; of H; of g
def test_cuda_gets_flash_attention_for_half_precision(dim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version", lambda: 91000)
    text = lowered("cuda", jnp.bfloat16, dim)
    assert "fmhaSoftmax(" in text
    assert "fmhaSoftmaxBackward(" in text
    assert "800x800" not in text


@pytest.mark.skipif(jax.default_backend() != "gpu", reason="flash attention needs a GPU")
@pytest.mark.parametrize("dim", [64, 80, 88])
def test_flash_attention_computes_what_attention_is_and_repeats_itself(dim: int) -> None:
    """In bfloat16, against the definition in float32; twice the same bits, as exact resume needs."""
    draw = np.random.default_rng(0).normal
    qkv, gradient = (jnp.asarray(draw(size=(2, 800, many * 2 * dim)), jnp.bfloat16) for many in (3, 1))
    exact = [x.astype(jnp.float32) for x in (qkv, gradient)]
    expected = with_gradient(functools.partial(plain_attention, heads=2), *exact)
    first, second = (with_gradient(lambda x: attend(x, 2), qkv, gradient) for _ in range(2))
    for one, other, its in zip(first, second, expected, strict=True):
        np.testing.assert_array_equal(one, other)
        scale = np.abs(its).max()
        np.testing.assert_allclose(one.astype(jnp.float32) / scale, its / scale, rtol=0, atol=2e-2)


@pytest.mark.parametrize(
    ("platform", "dtype", "at_once"),
    [("cuda", jnp.float32, 6), ("tpu", jnp.bfloat16, 6), ("cpu", jnp.float32, 2), ("cuda", jnp.bfloat16, 6)],
)
def test_without_flash_attention_the_weights_of_one_clip_exist_at_most(
    platform: str, dtype: Dtype, at_once: int
) -> None:
    """The last case: bfloat16 for CUDA where there is no cuDNN, as on this machine."""
    shapes = set(re.findall(r"tensor<((?:\d+x)+800x800)x", lowered(platform, dtype, 64)))
    assert shapes == {f"{at_once}x800x800"}


def test_a_gpu_without_flash_attention_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    for dtype in (jnp.float32, jnp.bfloat16, jnp.bfloat16):  # float32 has no flash attention anywhere
        jax.eval_shape(lambda x: attend(x, 6), jax.ShapeDtypeStruct((4, 800, 3 * 6 * 64), dtype))
    (record,) = caplog.records
    assert "bfloat16" in record.getMessage()
    assert "cuDNN" in record.getMessage()
