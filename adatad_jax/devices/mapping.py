"""Mapping of a function over devices: the only place of `jax.pmap`."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

AXIS = "data"  # name of the device axis


def map_over_devices(
    function: Callable[..., Any],
    devices: Sequence[jax.Device] | None,
    in_axes: Sequence[int | None],
    out_axes: Any = 0,
    donate: Sequence[int] = (),
) -> Callable[..., Any]:
    """Maps a function over devices, which may sum over the axis `AXIS`.

    With several processes, all must call the mapped function. It returns arrays of this process's devices alone: what
    has a device axis has one of their number (`placing`).

    Args:
      function: takes positional arguments, trees of arrays.
      devices: to map over, of all processes; None: all local ones.
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
        # Otherwise pmap expects every process to have as many devices, in use or not.
        axis_size=None if devices is None else len(devices),
    )
    return result
