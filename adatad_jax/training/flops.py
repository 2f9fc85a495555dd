"""Floating-point operations of a training step, counted before it is compiled."""

from typing import Any

import jax

from adatad_jax.data.batch import Batch
from adatad_jax.detection.objective import LossConfig
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.models.layers import Params
from adatad_jax.models.policy import MemoryPolicy
from adatad_jax.training.detection_loss import make_detection_loss
from adatad_jax.training.parameters import merge


def flops_per_window(model: AdaTAD, config: LossConfig, trained: Params, frozen: Params, window: Batch) -> float | None:
    """Counts the operations of a window's loss and of the gradients of the trained parameters.

    XLA counts them in the program as it is lowered. There every layer stands by itself, because XLA counts the body of
    a loop once; and nothing is recomputed (`model.remat`), because that is no work of the model. The compiled program
    of VideoMAE-S, 64 frames, has about as many: XLA drops what nothing reads, and attention's logits come twice.

    Args:
      model: the detector.
      config: of the objective.
      trained, frozen: shapes and dtypes of the parameters.
      window: shapes and dtypes of one window, `[1, ...]`.

    Returns:
      The number of operations; None where the backend does not count them.
    """
    loss = make_detection_loss(model.clone(unroll=True, policy=MemoryPolicy()), config)

    def gradients(trained: Params, frozen: Params, window: Batch) -> Any:
        def share(trained: Params) -> jax.Array:
            value, _ = loss.of_rows(merge(trained, frozen), window, jax.numpy.float32(1), jax.random.key(0))
            return value

        return jax.grad(share)(trained)

    found: Any = jax.jit(gradients).lower(trained, frozen, window).cost_analysis()
    return float(found["flops"]) if found and "flops" in found else None
