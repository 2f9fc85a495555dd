"""Memory that this process uses, on the host and on its devices."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

GIB = 2**30
_STATM = Path("/proc/self/statm")


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
