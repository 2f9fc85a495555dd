"""Stretches of a window on several devices: borders, the whole, and sums, against the whole window on one device."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adatad_jax.devices.mapping import AXIS
from adatad_jax.devices.window_shares import WindowShares

WINDOWS = np.arange(2 * 12, dtype=np.float32).reshape(2, 12)  # [B, T]


def by_pmap(function: Callable[..., Any], *arguments: Any) -> Any:
    return jax.pmap(function, axis_name=AXIS)(*arguments)


def by_vmap(function: Callable[..., Any], *arguments: Any) -> Any:
    return jax.vmap(function, axis_name=AXIS)(*arguments)


@pytest.mark.parametrize("mapped", [by_pmap, by_vmap])
@pytest.mark.parametrize("groups", [1, 2])
def test_devices_see_their_neighbours_and_the_whole(mapped: Callable[..., Any], groups: int) -> None:
    """Each of `groups` has one or both windows, cut into stretches for the rest of 4 devices."""
    shares = WindowShares(4 // groups)
    rows, length = 2 // groups, 12 // shares.count
    stretches = WINDOWS.reshape(groups, rows, shares.count, length).swapaxes(1, 2).reshape(4, rows, length)

    def seen(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        before, behind = shares.borders(x)
        return jnp.concatenate([before, x, behind], 1), shares.gather(x), shares.least(x[:, 0])

    with_borders, whole, least = jax.tree.map(np.asarray, mapped(seen, stretches))
    padded = np.pad(WINDOWS, ((0, 0), (1, 1)))
    for device in range(4):
        group, share = divmod(device, shares.count)
        own = slice(group * rows, (group + 1) * rows)
        np.testing.assert_array_equal(with_borders[device], padded[own, share * length : (share + 1) * length + 2])
        np.testing.assert_array_equal(whole[device], WINDOWS[own])
        np.testing.assert_array_equal(least[device], WINDOWS[own, 0])


def test_what_all_devices_of_a_group_compute_counts_once_with_its_gradient() -> None:
    """The sum of cubes of three stretches of one window, of which each device computes the whole."""
    shares = WindowShares(3)
    stretches = WINDOWS[:1].reshape(3, 1, 4)

    def share(x: jax.Array) -> jax.Array:
        return shares.once((shares.gather(x) ** 3).sum())

    values, gradients = jax.pmap(jax.value_and_grad(share), axis_name=AXIS)(stretches)
    np.testing.assert_array_equal(values, [(WINDOWS[0] ** 3).sum(), 0, 0])
    np.testing.assert_array_equal(gradients, 3 * stretches**2)
