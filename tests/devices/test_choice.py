"""Which devices are used, and what each has of a batch; the expected shares are worked out by hand."""

from typing import NamedTuple

import jax
import pytest

from adatad_jax.devices.choice import Sharing, share_devices
from adatad_jax.errors import UserError


class FakeDevice(NamedTuple):
    """What is asked of a device."""

    process_index: int
    id: int
    platform: str = "tpu"

    def __str__(self) -> str:
        return f"tpu:{self.id}"


def devices(*counts: int) -> list[jax.Device]:
    """So many devices of each process; as on a TPU pod, their ids do not follow the processes."""
    made = [FakeDevice(process, 100 * i + process) for process, count in enumerate(counts) for i in range(count)]
    return sorted(made, key=lambda device: device.id)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("count", "batch_size", "accumulate", "chunks", "groups", "shares"),
    [
        (8, 2, 1, 48, 2, 4),  # the published batch and window
        (8, 16, 1, 48, 8, 1),
        (8, 8, 1, 48, 8, 1),
        (8, 1, 1, 48, 1, 8),
        (8, 1, 1, 6, 1, 6),
        (8, 3, 1, 6, 3, 2),  # 6 of 8, rather than 1 x 6: windows are cut less
        (8, 3, 1, 48, 1, 8),
        (8, 8, 4, 48, 2, 4),  # micro-batches of 2 windows
        (8, 8, 8, 1, 1, 1),
        (5, 2, 1, 2, 2, 2),
        (1, 2, 1, 48, 1, 1),
    ],
)
def test_as_many_devices_as_possible_are_used(
    count: int, batch_size: int, accumulate: int, chunks: int, groups: int, shares: int
) -> None:
    sharing = share_devices(devices(count), batch_size, accumulate, chunks)
    assert (sharing.groups, sharing.shares, len(sharing.devices)) == (groups, shares, groups * shares)
    assert bool(sharing.reason) == (len(sharing.devices) < count)


def test_idle_devices_are_named_with_the_reason() -> None:
    text = share_devices(devices(8), 3, 1, 6).describe()
    for part in (
        "6 of 8",
        "3 group",
        "2 share",
        "tpu:600",
        "tpu:700",
        "windows computed at once (3)",
        "chunks of a window (6)",
    ):
        assert part in text
    assert "one has only 3" in share_devices(devices(4, 3), 6, 1, 48).describe()
    assert "idle" not in share_devices(devices(8), 2, 1, 48).describe()


@pytest.mark.parametrize(
    ("counts", "batch_size", "groups", "shares", "rows"),
    [
        ((4, 4), 2, 2, 4, [range(1), range(1, 2)]),
        ((2, 2), 4, 4, 1, [range(2), range(2, 4)]),
        ((3, 3), 1, 1, 6, [range(1)] * 2),  # both load the window
        ((2, 2, 2), 2, 2, 3, [range(1), range(2), range(1, 2)]),  # the second has devices of both groups
        ((4, 3), 6, 6, 1, [range(3), range(3, 6)]),  # as many in each process
    ],
)
def test_processes_have_as_many_devices_each_and_load_what_these_need(
    counts: tuple[int, ...], batch_size: int, groups: int, shares: int, rows: list[range]
) -> None:
    sharing = share_devices(devices(*counts), batch_size, 1, 48)
    assert (sharing.groups, sharing.shares) == (groups, shares)
    each = groups * shares // len(counts)
    assert [device.process_index for device in sharing.devices] == [p for p in range(len(counts)) for _ in range(each)]
    for process, expected in enumerate(rows):
        assert sharing.of_process(process) == range(process * each, (process + 1) * each)
        assert sharing.rows(batch_size, process) == expected


def test_a_process_without_a_share_is_an_error() -> None:
    with pytest.raises(UserError, match=r"5 processes.*\bbatch_size=4\b.*\baccumulate=2\b.*multiple of 10\b"):
        share_devices(devices(1, 1, 1, 1, 1), 4, 2, 48)


def test_one_device_has_all() -> None:
    sharing = Sharing(tuple(devices(1)))
    assert sharing.rows(7, 0) == range(7)
