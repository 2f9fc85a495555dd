"""Trains until the first step is dispatched, for `benchmarks.startup`: `python -m benchmarks.first_step ARGUMENTS`.

It takes the arguments of `train`, and imports nothing but that command.
"""

import os
import sys
import time
from typing import Any, cast

from adatad_jax import train

IMPORTED = time.time()
MARK = "imported, state, step and dispatch at: "


def main() -> None:
    """Runs the command, prints when each stage of its start has ended, and ends the process at the first step."""
    from adatad_jax.training import loop

    run: Any = loop.run

    def until_first_step(*arguments: Any) -> Any:
        step, *others, compile_step = arguments
        times = [IMPORTED, time.time()]

        def compiled(state: Any) -> None:
            compile_step(state)
            times.append(time.time())

        def dispatched(*inputs: Any) -> None:
            step(*inputs)
            times.append(time.time())
            print(MARK, *times, flush=True)
            os._exit(0)

        return run(dispatched, *others, compiled)

    loop.run = cast(Any, until_first_step)
    train.main(sys.argv[1:])


if __name__ == "__main__":
    main()
