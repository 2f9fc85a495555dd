"""Trains until the first step is dispatched, for `benchmarks.startup`: `python -m benchmarks.first_step ARGUMENTS`.

It takes the arguments of `train`, and imports nothing but that command.
"""

import os
import sys
import time
from typing import Any

from adatad_jax import train

MARK = "dispatched at, with CPU seconds: "


def main() -> None:
    """Runs the command, prints when its first step is dispatched, and ends the process there."""
    from adatad_jax.training import loop

    run: Any = loop.run

    def until_first_step(step: Any, *rest: Any, **named: Any) -> Any:
        def dispatched(*inputs: Any) -> None:
            step(*inputs)
            print(f"{MARK}{time.time()} {time.process_time()}", flush=True)
            os._exit(0)

        return run(dispatched, *rest, **named)

    loop.run = until_first_step
    train.main(sys.argv[1:])


if __name__ == "__main__":
    main()
