"""The learning rates of VideoMAE's pre-training and fine-tuning, which grow with the batch size."""

import numpy as np

from adatad_jax.errors import UserError
from adatad_jax.training.schedule import rise_and_fall

REFERENCE_BATCH = 256  # the batch size for which rates are given


def scaled_rates(
    base: float,
    end: float,
    batch: int,
    warmup_steps: int,
    total_steps: int,
    steps: int | None = None,
    shift: int = 0,
) -> np.ndarray:
    """Computes the learning rate of each optimiser step.

    Both rates are multiplied by batch / 256. With W warm-up steps of M in all, the rate rises linearly from 0 at step 0
    to the base at step W - 1. From step W on it falls by half a cosine, which starts at the base and would reach the
    end rate at step M.

    Args:
      base: the highest rate at a batch size of 256; 1.5e-4 in pre-training.
      end: the last rate at a batch size of 256; 1e-5 in pre-training.
      batch: clips per step, over all devices.
      warmup_steps: W; 0 starts with the base rate.
      total_steps: M.
      steps: number of rates to compute; None for M.
      shift: the rate of an optimiser step is that of the schedule's step `step + shift` (`OptimizerConfig`).

    Returns:
      `[steps]` float64.

    Raises:
      UserError: the warm-up leaves no steps.
    """
    if not 0 <= warmup_steps < total_steps:
        raise UserError(
            f"schedule of {warmup_steps} warm-up steps in {total_steps} steps: expected fewer warm-up steps than steps"
        )
    highest, last = base * batch / REFERENCE_BATCH, end * batch / REFERENCE_BATCH
    t = np.maximum(np.arange(total_steps if steps is None else steps, dtype=np.float64) + shift, 0)
    return rise_and_fall(t, highest, last, warmup_steps, total_steps)
