"""What masked pre-training predicts (arXiv 2203.12602), its loss, and pictures from predictions."""

import jax
import jax.numpy as jnp

from adatad_jax.models.encoder import patchify
from adatad_jax.models.sizes import TUBELET

EPS = 255e-6  # added to a tubelet's standard deviation: 1e-6 for pixels in [0, 1]


def targets(frames: jax.Array, masked: jax.Array, patch: int) -> jax.Array:
    """Returns the normalised values of the masked tubelets.

    Each tubelet is normalised per channel, by the mean and the unbiased standard deviation of its own pixels.

    Args:
      frames: `[N, 16, H, W, 3]` uint8 RGB.
      masked: `[N, M]` int, the masked tokens.
      patch: side of a patch, pixels.

    Returns:
      `[N, M, 2*patch*patch*3]` float32, the values of a tubelet ordered by frame, row, column and channel.
    """
    pixels = _pixels(frames, masked, patch)
    mean, deviation = _statistics(pixels)
    return ((pixels - mean) / deviation).reshape(*masked.shape, -1)


def squared_error(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """Returns each clip's mean squared error over its masked tubelets, `[N]`: their mean is the loss of a batch.

    Args:
      predictions, targets: `[N, M, values]` float32.
    """
    return jnp.square(predictions - targets).mean((1, 2))


def reconstruct(frames: jax.Array, predictions: jax.Array, masked: jax.Array, patch: int) -> jax.Array:
    """Returns the frames with predictions in place of the masked tubelets, for pictures.

    Mean and standard deviation of each tubelet are those of its true pixels: the network does not predict them.

    Args:
      frames: `[N, 16, H, W, 3]` uint8 RGB. A remainder of H or W that is no whole patch is dropped.
      predictions: `[N, M, 2*patch*patch*3]` float32 normalised values.
      masked: `[N, M]` int, the masked tokens.
      patch: side of a patch, pixels.

    Returns:
      `[N, 16, h*patch, w*patch, 3]` uint8 RGB.
    """
    n, length, height, width = frames.shape[:4]
    mean, deviation = _statistics(_pixels(frames, masked, patch))
    levels = predictions.reshape(*masked.shape, -1, 3) * deviation + mean
    levels = jnp.clip(jnp.round(levels), 0, 255).astype(jnp.uint8).reshape(*masked.shape, -1)
    tubelets = jnp.asarray(patchify(frames, patch)).at[jnp.arange(n)[:, None], masked].set(levels)
    t, h, w = length // TUBELET, height // patch, width // patch
    x = tubelets.reshape(n, t, h, w, TUBELET, patch, patch, 3).transpose(0, 1, 4, 2, 5, 3, 6, 7)
    return x.reshape(n, length, h * patch, w * patch, 3)


def _pixels(frames: jax.Array, masked: jax.Array, patch: int) -> jax.Array:
    """Returns the pixels of the masked tubelets, [N, M, 2*patch*patch, 3] float32 in [0, 255]."""
    tubelets = jnp.take_along_axis(patchify(frames, patch), masked[..., None], axis=1)
    return tubelets.reshape(*masked.shape, -1, 3).astype(jnp.float32)


def _statistics(pixels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns mean and standard deviation plus epsilon of each tubelet and channel, [N, M, 1, 3]."""
    mean = pixels.mean(2, keepdims=True)
    return mean, pixels.std(2, keepdims=True, ddof=1) + EPS
