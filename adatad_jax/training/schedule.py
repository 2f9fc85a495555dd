"""Learning rate by step: linear warm-up, then half a cosine; computed on the host in float64."""

import numpy as np

from adatad_jax.errors import UserError

FLOOR = 1e-8  # the rate at the end of the cosine


def warmup_cosine(base: float, warmup_steps: int, total_steps: int, steps: int) -> np.ndarray:
    """Learning rates `[steps]` float64 of the first `steps` optimiser steps.

    0 at step 0, `base * t / (W - 1)` up to step W - 1, `base` at W, then half a cosine that reaches 1e-8 at step M.

    Args:
      base: the highest rate.
      warmup_steps: W, at least 2.
      total_steps: M, the step at which the cosine ends; a run may stop before it.
      steps: how many rates to compute.

    Raises:
      UserError: W is 1, for which the release divides by zero, or the cosine has no length.
    """
    if warmup_steps < 2 or total_steps <= warmup_steps:
        raise UserError(
            f"schedule of {warmup_steps} warm-up steps in {total_steps}: expected at least 2 and fewer than in all; "
            "set config.train.warmup_epochs and config.train.schedule_epochs, or use more videos an epoch"
        )
    t = np.arange(steps, dtype=np.float64)
    cosine = (1 + np.cos(np.pi * (t - warmup_steps) / (total_steps - warmup_steps))) / 2
    return np.where(t < warmup_steps, base * t / (warmup_steps - 1), FLOOR + (base - FLOOR) * cosine)
