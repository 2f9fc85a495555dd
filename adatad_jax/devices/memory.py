"""Memory: what this process uses, what a device has, and what a compiled program needs of it."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

GIB = 2**30
_STATM = Path("/proc/self/statm")


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
    told = _stats(device)
    if "bytes_limit" in told:
        return int(told["bytes_limit"])
    if device.platform == "cpu" and "SC_AVPHYS_PAGES" in getattr(os, "sysconf_names", {}):
        shared = len(jax.local_devices(backend="cpu"))
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // shared
    return None


class Memory(NamedTuple):
    """Memory in bytes.

    Attributes:
      host: resident set of this process; where the system does not tell it (macOS), its peak; 0: not known.
      device: of the fullest device, in use; None where the backend does not tell.
      limit: what that device may use; None where the backend does not tell.
    """

    host: int
    device: int | None
    limit: int | None


def memory_used(devices: Sequence[jax.Device]) -> Memory:
    """Returns the memory in use now, in some microseconds."""
    stats = [found for device in devices if device.process_index == jax.process_index() and (found := _stats(device))]
    fullest = max(stats, key=lambda one: one.get("bytes_in_use", 0), default={})
    return Memory(_resident(), fullest.get("bytes_in_use"), fullest.get("bytes_limit"))


def _stats(device: jax.Device) -> dict[str, int]:
    """Returns the statistics of a device's allocator, none where its backend keeps none."""
    try:
        return device.memory_stats() or {}
    except (RuntimeError, NotImplementedError):
        return {}


def _resident() -> int:
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()
    if resource is None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
