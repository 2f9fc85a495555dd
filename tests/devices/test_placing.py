"""Arrays on the devices of this process, and on those of two processes."""

import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from adatad_jax.devices.choice import Sharing
from adatad_jax.devices.placing import first_value, place, replicate

TIME_LIMIT = 300  # seconds; a loaded machine may need many


def test_parts_are_placed_on_their_devices() -> None:
    devices = jax.devices()[:3]
    parts = [{"a": np.full((2, 5), 10 * number), "none": None} for number in range(3)]
    placed = place(parts, devices)
    assert placed["none"] is None
    assert placed["a"].shape == (3, 2, 5)
    for number, shard in enumerate(placed["a"].addressable_shards):
        assert shard.device == devices[number]
        np.testing.assert_array_equal(shard.data, np.full((1, 2, 5), 10 * number))


def test_arrays_of_host_and_device_are_replicated() -> None:
    placed = replicate({"host": np.ones(2), "device": jnp.ones(2), "number": 1.0}, jax.devices()[:2])
    assert all(leaf.is_fully_replicated and len(leaf.devices()) == 2 for leaf in placed.values())


def test_metrics_are_read_from_device_and_host() -> None:
    assert first_value(place([np.full((), 7.0)] * 2, jax.devices()[:2])) == 7.0
    assert first_value(np.array([3.0, 3.0])) == 3.0


def test_a_process_has_the_devices_that_follow_each_other() -> None:
    assert Sharing(tuple(jax.devices()), groups=2, shares=2).of_process(0) == range(4)


def test_two_processes_map_over_all_their_devices() -> None:
    """Each has 3 virtual devices, of which 2 have a share; the second loads what the devices of its group need."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.devices.one_of_two", str(port)]
    root = Path(__file__).parents[2]
    running = [
        subprocess.Popen([*command, str(number)], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for number in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=TIME_LIMIT)[0] for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0, 0], "\n".join(outputs)
