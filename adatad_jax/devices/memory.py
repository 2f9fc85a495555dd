"""Memory: what this process uses, what a device has, and what a compiled program needs of it."""

import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

GIB = 2**30
_STATM = Path("/proc/self/statm")
# Of control groups, versions 2 and 1: limit, use, and which entry of memory.stat is use that the system can take back.
_GROUP_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


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


def bytes_of(tree: Any) -> int:
    """Returns the bytes of all arrays of a tree; shapes with dtypes count as arrays."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def memory_needed(compiled: Any) -> Need | None:
    """Returns what a compiled program (`jax.stages.Compiled`) needs; None where the backend does not tell."""
    found = compiled.memory_analysis()
    if found is None:
        return None
    outputs = found.output_size_in_bytes - found.alias_size_in_bytes
    return Need(found.argument_size_in_bytes, found.temp_size_in_bytes, outputs)


def memory_available(device: jax.Device) -> int | None:
    """Returns the bytes that a device has; None where the backend does not tell.

    Devices of the platform `cpu` share what the machine has available (`machine_memory`).
    """
    told = _stats(device)
    if "bytes_limit" in told:
        return int(told["bytes_limit"])
    if device.platform == "cpu" and (available := machine_memory()) is not None:
        return available // len(jax.local_devices(backend="cpu"))
    return None


def least_available(devices: Sequence[jax.Device]) -> tuple[int | None, str]:
    """Returns the bytes of the device of this process that has least, and its name; None where one does not tell."""
    own = [device for device in devices if device.process_index == jax.process_index()]
    found = [(memory_available(device), str(device)) for device in own]
    return min(found, key=lambda one: -1 if one[0] is None else one[0])


def machine_memory(root: Path = Path("/")) -> int | None:
    """Returns the bytes that this process can still take of the machine's memory; None where the system does not tell.

    It is what the system calls available, or less where a control group of the process (a container, a batch job)
    leaves less below its limit.

    Args:
      root: of the file system.
    """
    found = list(_left_in_groups(root))
    with suppress(OSError, ValueError, IndexError):
        found.append(1024 * int((root / "proc/meminfo").read_text().split("MemAvailable:")[1].split()[0]))
        return max(0, min(found))
    if "SC_AVPHYS_PAGES" in getattr(os, "sysconf_names", {}):
        found.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return max(0, min(found)) if found else None


def _left_in_groups(root: Path) -> Iterator[int]:
    """Yields the bytes that each control group of this process leaves below its limit."""
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers not in ("", "memory"):
                continue
            base = root / "sys/fs/cgroup" / controllers
            own = base / path.lstrip("/")
            # Inside a container the path may be that of the machine outside: the base is the group then.
            for folder in (own, *own.parents) if own.is_dir() else (base,):
                yield from _left_in(folder)
                if folder == base:
                    break


def _left_in(folder: Path) -> Iterator[int]:
    """Yields the bytes that a control group leaves, if it has a limit."""
    for limit, used, cached in _GROUP_FILES:
        with suppress(OSError, ValueError):  # a file is missing, or the limit is "max"
            most, now = int((folder / limit).read_text()), int((folder / used).read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            yield most - now + int(stat.get(cached, 0))


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
