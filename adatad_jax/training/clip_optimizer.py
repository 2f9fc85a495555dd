"""AdamW of VideoMAE's pre-training and fine-tuning (arXiv 2203.12602), as optax transformations."""

import jax.numpy as jnp
import numpy as np
import optax

from adatad_jax.models.layers import Params
from adatad_jax.training.clip_parameters import decays
from adatad_jax.training.layer_decay import scale_by_factors
from adatad_jax.training.optimizer import BETA2, clip_by_global_norm, scale_by_adam
from adatad_jax.training.parameters import map_paths


def make_clip_optimizer(
    rates: np.ndarray,
    weight_decay: float,
    beta2: float = BETA2,
    clip_norm: float = 0.0,
    factors: Params | None = None,
) -> optax.GradientTransformation:
    """Makes the optimiser of a network on clips, for its trained parameters alone (`parameters.split`).

    Args:
      rates: `[steps]` learning rates of all steps that will be taken.
      weight_decay: decoupled decay of the matrices.
      beta2: decay of the squared gradient.
      clip_norm: largest global L2 norm of the gradient; 0: any.
      factors: of the trained parameters' rates (`layer_factors`); None: 1.
    """
    table = rates.astype(np.float32)
    links = [
        scale_by_adam(len(rates), beta2),
        optax.add_decayed_weights(weight_decay, mask=lambda params: map_paths(decays, params)),
        optax.scale_by_learning_rate(lambda count: jnp.asarray(table)[count]),
    ]
    if clip_norm:
        links.insert(0, clip_by_global_norm(clip_norm))
    if factors is not None:
        links.append(scale_by_factors(factors))
    return optax.chain(*links)
