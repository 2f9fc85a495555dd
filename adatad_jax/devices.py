"""Devices: which are used, how a function is mapped over them, and how arrays are placed on them."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "data"  # name of the device axis


def set_precision(dtype: str) -> None:
    """Makes float32 mean float32: GPUs and TPUs would silently use TF32 or bfloat16 products."""
    if dtype == "float32":
        jax.config.update("jax_default_matmul_precision", "highest")


def usable_devices(batch_size: int) -> list[jax.Device]:
    """Returns as many local devices as share a batch evenly."""
    devices = jax.local_devices()
    count = max(n for n in range(1, len(devices) + 1) if batch_size % n == 0)
    result: list[jax.Device] = devices[:count]
    return result


def map_over_devices(
    function: Callable[..., Any],
    devices: Sequence[jax.Device] | None,
    in_axes: Sequence[int | None],
    out_axes: Any = 0,
    donate: Sequence[int] = (),
) -> Callable[..., Any]:
    """Maps a function over devices, which may sum over the axis `AXIS`.

    Args:
      function: takes positional arguments, trees of arrays.
      devices: to map over; None: all local ones.
      in_axes: of each argument, 0 for a leading device axis, None for one that is replicated (`replicate`).
      out_axes: the same of what the function returns.
      donate: positions of the arguments whose memory the result may take.
    """
    result: Callable[..., Any] = jax.pmap(
        function,
        axis_name=AXIS,
        in_axes=tuple(in_axes),
        out_axes=out_axes,
        donate_argnums=tuple(donate),
        devices=devices,
    )
    return result


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
