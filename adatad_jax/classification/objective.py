"""Targets and loss of clip classification, and its accuracy."""

import jax


def smoothed(labels: jax.Array, classes: int, smoothing: float) -> jax.Array:
    """Returns targets with label smoothing, `[N, K]` float32: 1 - s + s/K for the label, s/K for other classes.

    Args:
      labels: `[N]` int.
      classes: K.
      smoothing: s, in [0, 1).
    """
    return jax.nn.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes


def cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Returns each clip's cross-entropy with soft targets, `[N]` float32.

    Args:
      logits: `[N, K]` float32.
      targets: `[N, K]` float32; the probabilities of a clip sum to 1.
    """
    return -(targets * jax.nn.log_softmax(logits)).sum(-1)


def in_top(logits: jax.Array, labels: jax.Array, k: int) -> jax.Array:
    """Tells for each clip whether its label is among the k classes of the largest logits, `[N]` bool.

    Of equal logits, the class of the lower number comes first. With fewer than k classes, every label is among them.

    Args:
      logits: `[N, K]` float32.
      labels: `[N]` int.
      k: such as 1 or 5.
    """
    _, best = jax.lax.top_k(logits, min(k, logits.shape[-1]))
    return (best == labels[:, None]).any(-1)
