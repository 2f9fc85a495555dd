"""Memory that a compiled program needs, of a product whose arrays can be counted by hand."""

import jax
import jax.numpy as jnp

from adatad_jax.devices.memory import memory_available, memory_needed


def test_arguments_and_outputs_are_counted_in_bytes() -> None:
    one, other = jax.ShapeDtypeStruct((64, 32), jnp.float32), jax.ShapeDtypeStruct((32, 16), jnp.float32)
    need = memory_needed(jax.jit(lambda a, b: a @ b).lower(one, other).compile())
    assert need is not None
    assert need.arguments == 4 * (64 * 32 + 32 * 16)
    assert need.outputs == 4 * 64 * 16
    assert need.total == need.arguments + need.temporaries + need.outputs


def test_an_output_in_the_place_of_an_argument_is_not_counted_twice() -> None:
    array = jax.ShapeDtypeStruct((64, 32), jnp.float32)
    need = memory_needed(jax.jit(lambda a: a + 1, donate_argnums=0).lower(array).compile())
    assert need is not None
    assert (need.arguments, need.outputs) == (4 * 64 * 32, 0)


def test_cpu_devices_share_the_free_memory() -> None:
    available = memory_available(jax.devices("cpu")[0])
    assert available is None or 0 < available < 2**50
