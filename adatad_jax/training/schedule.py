"""The learning rate schedule: linear warm-up, then half a cosine; computed on the host in float64."""

import numpy as np

from adatad_jax.errors import UserError

FLOOR = 1e-8  # the rate at the end of the cosine


def warmup_cosine(base: float, warmup_steps: int, total_steps: int, steps: int, shift: int = 0) -> np.ndarray:
    """Computes the learning rates of the first optimiser steps.

    The rate is `base * t / (W - 1)` at step t < W, that is 0 at step 0; `base` at step W; then half a cosine that
    reaches 1e-8 at step M.

    Args:
      base: the highest rate.
      warmup_steps: W, at least 2.
      total_steps: M, the step at which the cosine ends. A run may stop before it.
      steps: number of rates to compute.
      shift: the rate of an optimiser step is that of the schedule's step t = step + `shift` (`OptimizerConfig`).

    Returns:
      `[steps]` float64.

    Raises:
      UserError: W is 1, for which the release divides by zero, or the cosine has no length.
    """
    if warmup_steps < 2 or total_steps <= warmup_steps:
        raise UserError(
            f"schedule of {warmup_steps} warm-up steps in {total_steps} steps: expected at least 2 warm-up steps, and "
            "more steps in all; set config.train.warmup_epochs and config.train.schedule_epochs, or use more videos "
            "per epoch"
        )
    t = np.maximum(np.arange(steps, dtype=np.float64) + shift, 0)
    return rise_and_fall(t, base, FLOOR, warmup_steps, total_steps)


def rise_and_fall(t: np.ndarray, highest: float, last: float, warmup_steps: int, total_steps: int) -> np.ndarray:
    """Computes rates that rise linearly from 0 at step 0, and fall by half a cosine.

    Args:
      t: `[N]` float64, steps of the schedule.
      highest: the rate at step W - 1, and at step W, where the cosine begins.
      last: the rate at step M.
      warmup_steps: W; 0 starts with the highest rate.
      total_steps: M, above W.

    Returns:
      `[N]` float64.
    """
    cosine = (1 + np.cos(np.pi * (t - warmup_steps) / (total_steps - warmup_steps))) / 2
    return np.where(t < warmup_steps, highest * t / max(warmup_steps - 1, 1), last + (highest - last) * cosine)
