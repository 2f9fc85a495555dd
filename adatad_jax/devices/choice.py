"""Which devices are used, what each of them has of a batch, and the precision of their products."""

from collections.abc import Sequence
from typing import NamedTuple

import jax

from adatad_jax.errors import UserError, few


def set_precision(dtype: str) -> None:
    """Makes float32 mean float32: GPUs and TPUs would silently use TF32 or bfloat16 products."""
    if dtype == "float32":
        jax.config.update("jax_default_matmul_precision", "highest")


class Sharing(NamedTuple):
    """How devices share a batch: groups of devices have windows of their own, the devices of a group share each window.

    Device d of the axis has the windows of group `d // shares`, and of their frames the share `d % shares`.

    Attributes:
      devices: the devices in use, of all processes, in the order of the axis. Those of a process follow each other, and
        every process has as many.
      groups: number of groups; each has an equal part of the batch's windows.
      shares: number of devices of a group; each has an equal stretch of a window's frames.
      idle: the devices that are not used.
      reason: why they are not; empty if all are used.
    """

    devices: tuple[jax.Device, ...]
    groups: int = 1
    shares: int = 1
    idle: tuple[jax.Device, ...] = ()
    reason: str = ""

    def of_process(self, process: int) -> range:
        """Returns the numbers that a process's devices have on the axis."""
        numbers = [number for number, device in enumerate(self.devices) if device.process_index == process]
        return range(numbers[0], numbers[-1] + 1)

    def rows(self, batch_size: int, process: int) -> range:
        """Returns the rows of a batch of which a process's devices have frames."""
        numbers, size = self.of_process(process), batch_size // self.groups
        return range(numbers[0] // self.shares * size, (numbers[-1] // self.shares + 1) * size)

    def describe(self) -> str:
        """Returns what is used and what is not, for the start of a run."""
        used, kind = len(self.devices), self.devices[0].platform
        text = f"{used} of {used + len(self.idle)} {kind} device(s) used"
        if used > 1:
            text += f" ({self.groups} group(s) of windows x {self.shares} share(s) of a window)"
        return f"{text}; idle: {few([str(device) for device in self.idle])}: {self.reason}" if self.idle else text


def share_devices(devices: Sequence[jax.Device], batch_size: int, accumulate: int, chunks: int) -> Sharing:
    """Chooses how devices share a batch: as many as possible are used, and windows are cut as little as that allows.

    Args:
      devices: of all processes.
      batch_size: windows of a batch.
      accumulate: number of micro-batches of a batch, a divisor of its size.
      chunks: 16-frame chunks of a window.

    Raises:
      UserError: some process would have no device in use.
    """
    rows = batch_size // accumulate
    owned: dict[int, list[jax.Device]] = {}
    for device in sorted(devices, key=lambda device: (device.process_index, device.id)):
        owned.setdefault(device.process_index, []).append(device)
    fewest = min(map(len, owned.values()))
    splits = [
        (groups * shares, groups)
        for groups in _divisors(rows)
        for shares in _divisors(chunks)
        if groups * shares % len(owned) == 0 and groups * shares <= fewest * len(owned)
    ]
    what = f"the windows computed at once ({rows}) and the chunks of a window ({chunks}) cannot be cut into"
    if not splits:
        raise UserError(
            f"{len(owned)} processes with {len(devices)} devices: {what} as many shares for each process "
            f"(config.train.batch_size={batch_size}, accumulate={accumulate}): start one process, or as many as divide "
            f"the windows, or set config.train.batch_size to a multiple of {accumulate * len(owned)}"
        )
    count, groups = max(splits)
    each = count // len(owned)
    used = tuple(device for own in owned.values() for device in own[:each])
    idle = tuple(device for own in owned.values() for device in own[each:])
    alike = f", as many for each of {len(owned)} processes" if len(owned) > 1 else ""
    reason = f"{what} more equal shares{alike}"
    if each == fewest:
        reason = f"every process uses as many devices, and one has only {fewest}" if idle else ""
    return Sharing(used, groups, count // groups, idle, reason)


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
