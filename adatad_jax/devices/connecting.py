"""The first collective of devices of several processes, in which they connect."""

from collections.abc import Sequence

import jax
import numpy as np

from adatad_jax.devices.mapping import AXIS, map_over_devices
from adatad_jax.devices.placing import place


def connect(devices: Sequence[jax.Device]) -> None:
    """Connects the devices of several processes, which must all call this at the same time.

    Otherwise they connect in the first training step. On CPUs, the collectives (Gloo) give the last process 30 seconds
    for that, and one that compiles the step for longer than another would be too late.

    Args:
      devices: of all processes, in the order of the axis.
    """
    own = sum(device.process_index == jax.process_index() for device in devices)
    ones = place([np.ones((), np.float32)] * own, devices)
    jax.block_until_ready(map_over_devices(lambda one: jax.lax.psum(one, AXIS), devices, in_axes=(0,))(ones))
