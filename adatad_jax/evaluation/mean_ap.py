"""ActivityNet-style mean average precision over tIoU thresholds.

The metric's definition leaves details open, which the release's rules settle (`ground_truth.py` states those for the
ground truth):

* The mean is over the classes of the ground truth. A class without detections has an average precision of 0.
* Among the segments of its video and class that are not yet taken, a detection takes the one that it overlaps most. Of
  equal overlaps, it takes the later one in the annotation's order.
* Detections in videos without ground truth are false positives. Detections of a class without ground truth are ignored.
  The result counts both.

One rule is this project's own: detections of equal score are ranked in the order given (the release's sort is
unstable).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adatad_jax.errors import UserError
from adatad_jax.evaluation.ground_truth import GroundTruth, by_class, counted, segment_tiou
from adatad_jax.postprocessing.detections import Detections

Array = np.ndarray


@dataclass(frozen=True)
class Metrics:
    """The result of `mean_average_precision`, for K classes of the ground truth and T thresholds.

    Attributes:
      tious: the T thresholds.
      classes: names of the K classes.
      per_class: [K, T] float64, average precision of each class, fractions.
      map: [T] float64, mean of `per_class` over classes.
      segments: number of ground-truth segments counted.
      dropped_segments: number of ground-truth segments left out as empty or near-duplicate.
      detections: number of detections of the K classes.
      unknown_video: how many of `detections` are in videos without ground truth, and so are false positives.
      unknown_label: number of detections ignored, because their class has no ground truth.
    """

    tious: tuple[float, ...]
    classes: tuple[str, ...]
    per_class: Array
    map: Array
    segments: int
    dropped_segments: int
    detections: int
    unknown_video: int
    unknown_label: int

    @property
    def average_map(self) -> float:
        """Returns the mean of `map` over thresholds, in [0, 1]."""
        return float(self.map.mean())


def mean_average_precision(
    ground_truth: GroundTruth, detections: Mapping[str, Detections], tious: Sequence[float], classes: Sequence[str]
) -> Metrics:
    """Computes the mean average precision by the rules in the module's docstring.

    Args:
      ground_truth: segments in seconds and labels of each video.
      detections: detections of each video.
      tious: T thresholds.
      classes: class names, indexed by the labels of both ground truth and detections.

    Raises:
      UserError: there is no threshold or no ground-truth segment, or detections and ground truth share no video or no
        class.
    """
    if not len(tious):
        raise UserError("the list of tIoU thresholds is empty, expected at least one, such as 0.5: set it")
    truth = counted(ground_truth, detections, classes)
    known = list(truth.positives)
    hits, scores, labels = [np.zeros((len(tious), 0), bool)], [np.empty(0)], [np.empty(0, np.int64)]
    unknown_video = 0
    for video, found in detections.items():
        video_hits = np.zeros((len(tious), len(found)), bool)
        for _, mine, segments in by_class(truth, video, found):
            tiou = segment_tiou(found.segments[mine], segments)
            video_hits[:, mine] = [match(tiou, threshold) >= 0 for threshold in tious]
        hits.append(video_hits)
        scores.append(found.scores)
        labels.append(found.labels)
        if video not in truth.videos:
            unknown_video += int(np.isin(found.labels, known).sum())

    ranked = np.argsort(-np.concatenate(scores), kind="stable")
    all_hits, all_labels = np.concatenate(hits, axis=1)[:, ranked], np.concatenate(labels)[ranked]
    per_class = np.stack([average_precision(all_hits[:, all_labels == k], n) for k, n in truth.positives.items()])
    of_known_class = int(np.isin(all_labels, known).sum())
    return Metrics(
        tious=tuple(float(threshold) for threshold in tious),
        classes=tuple(classes[label] for label in known),
        per_class=per_class,
        map=per_class.mean(axis=0),
        segments=sum(truth.positives.values()),
        dropped_segments=truth.dropped,
        detections=of_known_class,
        unknown_video=unknown_video,
        unknown_label=len(all_labels) - of_known_class,
    )


def match(tiou: Array, threshold: float) -> Array:
    """Assigns each detection the segment that it takes.

    Args:
      tiou: [P, G] tIoU between a video's detections of one class, by falling score, and its segments of that class.
      threshold: tIoU from which a detection may take a segment (`>=`).

    Returns:
      [P] int, index of the segment; -1 for none, a false positive.
    """
    taken = np.full(len(tiou), -1)
    rows = np.flatnonzero((tiou >= threshold).any(axis=1))
    free = tiou[rows, ::-1]  # reversed, as argmax finds the first of equal overlaps, and the last one is wanted
    for row, overlaps in zip(rows, free, strict=True):
        best = overlaps.argmax()
        if overlaps[best] >= threshold:
            taken[row] = tiou.shape[1] - 1 - best
            free[:, best] = -np.inf
    return taken


def average_precision(hits: Array, positives: int) -> Array:
    """Computes the all-point interpolated average precision.

    Args:
      hits: [..., N] bool, which detections of a class are true positives, by falling score.
      positives: number of ground-truth segments of the class, at least 1.

    Returns:
      [...] float64: the sum over true positives of the best precision at or after them, divided by `positives`.
    """
    precision = np.cumsum(hits, axis=-1) / np.arange(1, hits.shape[-1] + 1)
    result: Array = np.where(hits, best_from_here(precision), 0).sum(axis=-1) / positives
    return result


def best_from_here(precision: Array) -> Array:
    """Interpolates precision [..., N]: returns the best one at or after each rank."""
    return np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
