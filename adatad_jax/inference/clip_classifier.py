"""Classification of videos with trained parameters: probabilities of views, averaged over a video's views."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from adatad_jax.data.cache import Images
from adatad_jax.devices.mapping import map_over_devices
from adatad_jax.devices.placing import replicate
from adatad_jax.models.classifier import Classifier
from adatad_jax.models.layers import Params


class ClipClassifier:
    """A compiled classifier with its parameters on every local device.

    Attributes:
      batch_size: clips per call, over all devices.
    """

    def __init__(self, model: Classifier, params: Params, per_device: int) -> None:
        """Places the parameters on the devices; the model is compiled at the first call.

        Args:
          model: the classifier.
          params: its parameters.
          per_device: clips per call and device.
        """
        self._devices = jax.local_devices()
        self.batch_size = per_device * len(self._devices)
        self.load(params)

        def probabilities(params: Params, frames: jax.Array) -> jax.Array:
            logits: Any = model.apply({"params": params}, frames)
            return jax.nn.softmax(logits)

        self._apply = map_over_devices(probabilities, self._devices, in_axes=(None, 0))

    def load(self, params: Params) -> None:
        """Replaces the parameters without compiling the model again."""
        self._params = replicate(params, self._devices)

    def probabilities(self, clips: Images) -> np.ndarray:
        """Returns the probabilities of clips.

        Args:
          clips: `[N, 16, H, W, 3]` uint8 RGB, at least one.

        Returns:
          `[N, K]` float32.
        """
        parts = [self._batch(clips[first : first + self.batch_size]) for first in range(0, len(clips), self.batch_size)]
        return np.concatenate(parts)

    def _batch(self, clips: Images) -> np.ndarray:
        """Returns the probabilities of at most `batch_size` clips; copies of the first one fill up the batch."""
        filled = np.concatenate([clips, clips[:1].repeat(self.batch_size - len(clips), 0)])
        found = self._apply(self._params, filled.reshape(len(self._devices), -1, *clips.shape[1:]))
        return np.asarray(found).reshape(self.batch_size, -1)[: len(clips)]


def classify_videos(
    classifier: ClipClassifier, videos: Iterable[tuple[str, Images]]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the name of each video, and its probabilities `[K]` float32, averaged over its views.

    Args:
      classifier: the model.
      videos: name, and the views `[V, 16, H, W, 3]` of a video.
    """
    for name, views in videos:
        yield name, classifier.probabilities(views).mean(0)


def best(probabilities: np.ndarray, classes: Sequence[str], count: int) -> list[tuple[str, float]]:
    """Returns the most probable classes, the most probable first.

    Args:
      probabilities: `[K]`.
      classes: the K names.
      count: how many to return, at most.
    """
    order = np.argsort(-probabilities, kind="stable")[:count]
    return [(classes[index], float(probabilities[index])) for index in order]
