"""A detection as its reader wants it: seconds, a name, a score."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from adatad_jax.postprocessing.detections import Detections


class Detection(NamedTuple):
    """A segment of a video that a detector found.

    Attributes:
      start: seconds from the first frame.
      end: seconds from the first frame.
      label: name of the class.
      score: in [0, 1].
    """

    start: float
    end: float
    label: str
    score: float


def named(detections: Detections, classes: Sequence[str]) -> list[Detection]:
    """The detections of a video by falling score, equal ones in their order; `classes` are indexed by the labels."""
    order = np.argsort(-detections.scores, kind="stable")
    return [
        Detection(start, end, classes[label], score)
        for (start, end), label, score in zip(
            detections.segments[order].tolist(),
            detections.labels[order].tolist(),
            detections.scores[order].tolist(),
            strict=True,
        )
    ]
