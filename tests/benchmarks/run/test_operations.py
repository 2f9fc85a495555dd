"""Operations of compiled programs, against hand counts."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from benchmarks.run.operations import count_in_text, count_operations

SQUARE = jax.ShapeDtypeStruct((128, 128), jnp.float32)
PRODUCT = 2 * 128**3


def counted(function: Any, *shapes: Any) -> float:
    return count_operations(jax.jit(function).lower(*shapes).compile())


def test_a_loop_counts_as_often_as_it_runs() -> None:
    def loops(a: jax.Array, b: jax.Array) -> jax.Array:
        def inner(x: jax.Array, _: None) -> tuple[jax.Array, None]:
            return x @ b, None

        def outer(x: jax.Array, _: None) -> tuple[jax.Array, None]:
            return jax.lax.scan(inner, x, None, 3)[0], None

        return jax.lax.scan(outer, a, None, 5)[0]

    # Beside the products, a loop counts its own rounds.
    assert counted(loops, SQUARE, SQUARE) == pytest.approx(15 * PRODUCT, rel=1e-4)


def test_batched_product() -> None:
    shapes = jax.ShapeDtypeStruct((3, 40, 50), jnp.float32), jax.ShapeDtypeStruct((3, 50, 70), jnp.float32)
    assert counted(jnp.matmul, *shapes) == 2 * 3 * 40 * 50 * 70


def test_elements_and_sums() -> None:
    values = jax.ShapeDtypeStruct((1000,), jnp.float32)
    # A product and a sum per element, and 999 additions.
    assert counted(lambda x: jnp.sum(x * 2 + x), values) == pytest.approx(2999, abs=64)


def test_as_xla_counts_without_loops() -> None:
    def layer(x: jax.Array, w: jax.Array) -> jax.Array:
        return jnp.sum(jax.nn.relu(x @ w) ** 2)

    compiled: Any = jax.jit(jax.grad(layer, argnums=(0, 1))).lower(SQUARE, SQUARE).compile()
    assert count_operations(compiled) == pytest.approx(compiled.cost_analysis()["flops"], rel=1e-3)


def test_text() -> None:
    text = """HloModule step

%body (p: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %p = (s32[], f32[4,8]{1,0}) parameter(0)
  %x = f32[4,8]{1,0} get-tuple-element(%p), index=1
  %w = f32[8,8]{1,0} constant({...})
  ROOT %y = f32[4,8]{1,0} dot(%x, %w), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%condition (p: (s32[], f32[4,8])) -> pred[] {
  %q = (s32[], f32[4,8]{1,0}) parameter(0)
  ROOT %less = pred[] compare(%q, %q), direction=LT
}

ENTRY %main (a: f32[4,8]) -> f32[4,8] {
  %a = f32[4,8]{1,0} parameter(0)
  %b = f32[4,8]{1,0} negate(%a)
  ROOT %loop = (s32[], f32[4,8]{1,0}) while(%b), condition=%condition, body=%body, """
    text += """backend_config={"known_trip_count":{"n":"7"}}
}
"""
    assert count_in_text(text) == 4 * 8 + 7 * (2 * 4 * 8 * 8 + 1)
