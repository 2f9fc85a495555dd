"""One of two processes that map over their devices: `python -m tests.devices.one_of_two PORT NUMBER`."""

import os
import sys

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=3"

import jax
import numpy as np

from adatad_jax.devices.choice import share_devices
from adatad_jax.devices.mapping import AXIS, map_over_devices
from adatad_jax.devices.placing import first_value, place, replicate
from adatad_jax.devices.window_shares import WindowShares


def main(port: str, number: int) -> None:
    jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=number)
    sharing = share_devices(jax.devices(), batch_size=2, accumulate=1, chunks=2)
    assert (sharing.groups, sharing.shares, len(sharing.idle)) == (2, 2, 2)
    assert sharing.rows(2, number) == range(number, number + 1)
    shares = WindowShares(sharing.shares)

    def function(state: jax.Array, x: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        whole = shares.gather(x)
        return state + jax.lax.psum(shares.once(whole.sum()), AXIS), {"whole": whole, "least": whole.min()}

    mapped = map_over_devices(function, sharing.devices, in_axes=(None, 0), out_axes=(None, 0), donate=(0,))
    state = replicate(np.float32(0), sharing.devices)
    assert not state.is_fully_addressable
    for _ in range(2):  # the second call takes the state that the first returned
        parts = [np.array([[10 * device, 10 * device + 1]], np.float32) for device in sharing.of_process(number)]
        state, found = mapped(state, place(parts, sharing.devices))
    group = [0, 1, 10, 11] if number == 0 else [20, 21, 30, 31]
    np.testing.assert_array_equal(found["whole"].addressable_data(0)[0], [group])
    assert first_value(found["least"]) == group[0]
    assert float(np.asarray(state)) == 2 * 124  # the sum of both groups, twice
    spanning = replicate(state, sharing.devices)
    assert not spanning.is_fully_addressable
    own = replicate(spanning, jax.local_devices())  # for this process alone, as an evaluation computes
    assert own.is_fully_addressable
    assert len(own.devices()) == 3
    assert float(own) == 2 * 124
    alone = map_over_devices(lambda one, x: one + x, jax.local_devices(), in_axes=(None, 0))
    np.testing.assert_array_equal(alone(own, np.arange(3, dtype=np.float32)), [248, 249, 250])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
