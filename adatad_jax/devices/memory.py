"""Memory of devices: how much a device has, and how much a compiled program needs of it."""

import os
from typing import Any, NamedTuple

import jax


class Need(NamedTuple):
    """Memory that a compiled program needs on each device, in bytes, as XLA has laid it out.

    Attributes:
      arguments: of the arrays that it takes.
      temporaries: of what it computes in between.
      outputs: of the arrays that it returns, less those that take the place of arguments.
    """

    arguments: int
    temporaries: int
    outputs: int

    @property
    def total(self) -> int:
        """Returns the sum, which the program holds at its peak."""
        return self.arguments + self.temporaries + self.outputs


def memory_needed(compiled: Any) -> Need | None:
    """Returns what a compiled program (`jax.stages.Compiled`) needs; None where the backend does not tell."""
    found = compiled.memory_analysis()
    if found is None:
        return None
    outputs = found.output_size_in_bytes - found.alias_size_in_bytes
    return Need(found.argument_size_in_bytes, found.temp_size_in_bytes, outputs)


def memory_available(device: jax.Device) -> int | None:
    """Returns the bytes that a device has; None where the backend does not tell.

    Devices of the platform `cpu` share what the operating system calls free.
    """
    told = device.memory_stats() or {}
    if "bytes_limit" in told:
        return int(told["bytes_limit"])
    if device.platform == "cpu" and "SC_AVPHYS_PAGES" in getattr(os, "sysconf_names", {}):
        shared = len(jax.local_devices(backend="cpu"))
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // shared
    return None
