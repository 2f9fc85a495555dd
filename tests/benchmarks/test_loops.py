"""Operations of products in loops, against a count by hand."""

import jax
import jax.numpy as jnp

from benchmarks.loops import product_flops


def test_a_product_counts_once_for_every_step_of_the_loops_around_it() -> None:
    def outer(a: jax.Array, b: jax.Array) -> jax.Array:
        def step(a: jax.Array, _: None) -> tuple[jax.Array, None]:
            inner, _ = jax.lax.scan(lambda a, _: (jnp.tanh(a @ b), None), a, length=3)
            return inner, None

        return jax.lax.scan(step, a, length=7)[0] @ b[:, :5]

    a, b = jax.ShapeDtypeStruct((64, 96), jnp.float32), jax.ShapeDtypeStruct((96, 96), jnp.float32)
    program = jax.jit(outer).lower(a, b).compile().as_text()
    assert product_flops(program) == 2 * 64 * 96 * (7 * 3 * 96 + 5)
