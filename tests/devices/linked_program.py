"""A program of several processes: they exchange and compute together, until one of them fails in the way asked for."""

import os
import signal
from collections.abc import Sequence

import numpy as np
from jax.experimental import multihost_utils

from adatad_jax import cli
from adatad_jax.devices.launch import find_launch
from adatad_jax.devices.processes import joined
from adatad_jax.errors import UserError

STEPS = 20


def main(arguments: Sequence[str]) -> None:
    """Takes what happens (error, kill or nothing) and to which process."""
    what, victim = arguments[0], int(arguments[1])
    with joined(find_launch(), 120.0, 0.0) as processes:
        for step in range(STEPS):
            multihost_utils.process_allgather(np.arange(3))  # where another one's end is an error of the runtime
            if step == STEPS // 2 and processes.index == victim:
                if what == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                if what == "error":
                    raise UserError("a.mp4: broken")
        print("sum", sum(processes.post("end", processes.index)()))


if __name__ == "__main__":
    cli.run(main)
