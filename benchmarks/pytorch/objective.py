"""Targets and loss of ActionFormer (arXiv 2202.07925, sections 3.3 and 3.4) in PyTorch."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adatad_jax.detection.objective import LossConfig
from adatad_jax.detection.points import make_points
from adatad_jax.models.sizes import DetectorConfig
from benchmarks.pytorch.detector import Predictions

ALPHA, GAMMA, EPS = 0.25, 2.0, 1e-7
RADIUS, SIMILAR, MOMENTUM = 1.5, 1e-3, 0.9


class Targets(NamedTuple):
    """Targets of P points: `[B, P, K]` classes, `[B, P, 2]` distances in strides, `[B, P]` whether positive."""

    classes: Tensor
    distances: Tensor
    positive: Tensor


class Objective(nn.Module):
    """The focal and DIoU loss, and the running mean of positive points that divides both."""

    position: Tensor
    low: Tensor
    high: Tensor
    stride: Tensor
    normalizer: Tensor

    def __init__(self, detector: DetectorConfig, config: LossConfig) -> None:
        """Makes the points of a training window.

        Args:
          detector: strides, ranges, classes, length of a window.
          config: without label smoothing, and with the shortest candidate alone giving its class.
        """
        super().__init__()
        if config.label_smoothing or config.all_candidates:
            raise ValueError(f"{config}: label smoothing and all candidates are not part of this reference")
        self.classes, self.config = detector.classes, config
        for name, column in make_points(detector, detector.max_length)._asdict().items():
            self.register_buffer(name, torch.from_numpy(column), persistent=False)
        self.register_buffer("normalizer", torch.tensor(config.normalizer_start), persistent=False)

    def forward(self, predictions: Predictions, segments: Tensor, labels: Tensor) -> Tensor:
        """Computes the loss of windows, and updates the running mean.

        Args:
          predictions: of B windows.
          segments: `[B, G, 2]` float32, grid positions.
          labels: `[B, G]` int, -1 for padding.
        """
        mask = predictions.mask
        targets = self.assign(mask, segments, labels)
        with torch.no_grad():
            current = (targets.positive.sum() / self.config.release_gpus).clamp(min=1)
            self.normalizer.mul_(MOMENTUM).add_(current, alpha=1 - MOMENTUM)
        logits, classes = predictions.logits, targets.classes
        p = torch.sigmoid(logits)
        entropy = F.binary_cross_entropy_with_logits(logits, classes, reduction="none")
        wrong = p + classes - 2 * p * classes
        focal = entropy * wrong**GAMMA * (ALPHA * classes + (1 - ALPHA) * (1 - classes))
        focal = (focal * mask.unsqueeze(-1)).sum()
        # Selecting the positive points would wait for the device; the others get values with a finite gradient.
        positive = targets.positive.unsqueeze(-1)
        found, wanted = (torch.where(positive, both, 1.0) for both in (predictions.distances, targets.distances))
        overlap = torch.where(targets.positive, self._diou(found, wanted), 0.0).sum()
        return (focal + self.config.regression_weight * overlap) / (self.normalizer * self.config.release_gpus)

    @torch.no_grad()
    def assign(self, mask: Tensor, segments: Tensor, labels: Tensor) -> Targets:
        """Assigns segments to points; arguments as in `forward`, `mask` is `[B, P]` bool."""
        position, low, high, stride = (c[None, :, None] for c in (self.position, self.low, self.high, self.stride))
        start, end = segments[:, None, :, 0], segments[:, None, :, 1]
        to_start, to_end = position - start, end - position
        centre, radius = (start + end) / 2, stride * RADIUS
        from_left = position - torch.maximum(centre - radius, start)
        from_right = torch.minimum(centre + radius, end) - position
        larger, real = torch.maximum(to_start, to_end), (labels >= 0)[:, None]
        candidate = (torch.minimum(from_left, from_right) > 0) & (larger >= low) & (larger <= high) & real
        length = torch.where(candidate, end - start, torch.inf)
        least, shortest = length.min(2, keepdim=True)
        contributes = candidate & (length <= least + SIMILAR)
        one_hot = F.one_hot(labels.clamp(min=0).long(), self.classes).float()
        classes = (contributes.float() @ one_hot).clamp(max=1)
        both = torch.stack([to_start, to_end], -1)
        distances = both.gather(2, shortest.unsqueeze(-1).expand(-1, -1, 1, 2)).squeeze(2) / self.stride[:, None]
        return Targets(classes, distances, contributes.any(2) & mask)

    def _diou(self, a: Tensor, b: Tensor) -> Tensor:
        """Computes `1 - DIoU` of segments given by their distances `[B, P, 2]` from the same points."""
        stride = self.stride[:, None]
        a, b = a * stride, b * stride
        inter = torch.minimum(a, b).sum(-1)
        union = a.sum(-1) + b.sum(-1) - inter
        enclosing = torch.maximum(a, b).sum(-1)
        apart = (a[..., 1] - a[..., 0] - b[..., 1] + b[..., 0]) / 2
        return 1 - inter / union.clamp(min=EPS) + apart**2 / (enclosing**2).clamp(min=EPS)
