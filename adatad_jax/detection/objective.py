"""What the training minimises."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LossConfig:
    """What the loss is made of.

    Attributes:
      regression_weight: factor of the DIoU loss.
      label_smoothing: of the focal loss's targets.
      all_candidates: every candidate segment gives its class to a point.
      release_gpus: R, the number of devices of the published run, to which its loss normaliser belongs.
      normalizer_start: where the normaliser starts.
    """

    regression_weight: float
    label_smoothing: float
    all_candidates: bool
    release_gpus: int
    normalizer_start: float
