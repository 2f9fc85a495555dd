"""Placing of arrays on devices, also on those of several processes.

With several processes, a mapped function (`devices.mapping`) takes arrays that span the devices of all processes, and
arrays of this process's devices alone; it returns the latter. `replicate` makes the former of either.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from adatad_jax.devices.mapping import AXIS


def replicate(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """Places a tree of arrays on every device, as a mapped function takes what has no device axis.

    Args:
      tree: arrays of this process, or arrays that are the same on all devices that they are on.
      devices: to place them on; of those of other processes, each process places its own copy.

    Raises:
      ValueError: an array of several processes is not the same on all of its devices.
    """
    sharding = NamedSharding(Mesh(np.array(devices), (AXIS,)), PartitionSpec())

    def one(leaf: Any) -> jax.Array:
        if not isinstance(leaf, jax.Array):
            host = np.asarray(leaf)
            return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])
        if leaf.is_fully_addressable and sharding.is_fully_addressable:
            result: jax.Array = jax.device_put(leaf, sharding)
            return result
        if not leaf.is_fully_replicated:
            raise ValueError(f"an array {leaf.shape} of several processes is to be the same on all of its devices")
        here = {shard.device: shard.data for shard in leaf.addressable_shards}
        any_copy = next(iter(here.values()))
        copies = [jax.device_put(here.get(device, any_copy), device) for device in _own(devices)]
        return jax.make_array_from_single_device_arrays(leaf.shape, sharding, copies)

    return jax.tree.map(one, tree)


def shard(tree: Any, devices: int) -> Any:
    """Returns a tree of arrays `[B, ...]` as `[devices, B/devices, ...]`."""
    return jax.tree.map(lambda array: np.reshape(array, (devices, -1, *np.shape(array)[1:])), tree)


def place(parts: Sequence[Any], devices: Sequence[jax.Device]) -> Any:
    """Places a tree of host arrays on each device, and returns before the copy has ended.

    Args:
      parts: one tree for each device of this process, in the order of `devices`; all have the same shapes.
      devices: of all processes.

    Returns:
      One tree of arrays with a leading device axis, which span the devices of all processes.
    """
    sharding = NamedSharding(Mesh(np.array(devices), (AXIS,)), PartitionSpec(AXIS))
    own = _own(devices)

    def one(*arrays: Any) -> jax.Array:
        placed = [jax.device_put(array[None], device) for array, device in zip(arrays, own, strict=True)]
        return jax.make_array_from_single_device_arrays((len(devices), *placed[0].shape[1:]), sharding, placed)

    return jax.tree.map(one, *parts)


def placed_shapes(tree: Any, rows: int, devices: Sequence[jax.Device]) -> Any:
    """Returns what `place` gives without the numbers: shapes, dtypes and where they lie.

    Args:
      tree: arrays `[1, ...]`, one row of what each device has.
      rows: of each device.
      devices: of all processes.
    """
    sharding = NamedSharding(Mesh(np.array(devices), (AXIS,)), PartitionSpec(AXIS))
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((len(devices), rows, *leaf.shape[1:]), leaf.dtype, sharding=sharding), tree
    )


def first_value(array: Any) -> float:
    """Returns a scalar that a mapped function returned with a device axis, from the first device of this process."""
    own = array.addressable_data(0) if isinstance(array, jax.Array) else array
    return float(np.asarray(own).ravel()[0])


def _own(devices: Sequence[jax.Device]) -> list[jax.Device]:
    """Returns the devices of this process."""
    return [device for device in devices if device.process_index == jax.process_index()]
