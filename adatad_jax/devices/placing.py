"""Placing of arrays on devices."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from adatad_jax.devices.mapping import AXIS


def replicate(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """Places a tree of arrays on every device, as a mapped function takes what has no device axis."""
    sharding = NamedSharding(Mesh(np.array(devices), (AXIS,)), PartitionSpec())

    def one(leaf: Any) -> jax.Array:
        if isinstance(leaf, jax.Array):
            result: jax.Array = jax.device_put(leaf, sharding)
            return result
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    return jax.tree.map(one, tree)


def shard(tree: Any, devices: int) -> Any:
    """Returns a tree of arrays `[B, ...]` as `[devices, B/devices, ...]`."""
    return jax.tree.map(lambda array: np.reshape(array, (devices, -1, *np.shape(array)[1:])), tree)


def place(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """Places host arrays `[B, ...]` on the devices with a leading device axis; returns before the copy has ended."""
    sharding = NamedSharding(Mesh(np.array(devices), (AXIS,)), PartitionSpec(AXIS))
    return jax.device_put(shard(tree, len(devices)), sharding)
