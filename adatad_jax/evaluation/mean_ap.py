"""ActivityNet-style mean average precision over tIoU thresholds.

The rules are the release's, which fix what the metric's definition leaves open (for the ground truth `ground_truth.py`
has them):

* the mean is over the classes of the ground truth; a class without detections has 0;
* a detection takes, of its video's and class's segments not yet taken, the one it overlaps most; of equal overlaps the
  later in the annotation's order;
* detections in videos without ground truth are false positives; those of a class without ground truth are ignored.
  Both are counted in the result.

Ours: detections of equal score are ranked in the order given (the release's sort is unstable).
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
    """What `evaluate` finds: K classes of the ground truth, T thresholds.

    tious [T] and classes [K] name the axes of per_class [K, T], the average precisions; map [T] is its mean over K.
    segments, dropped_segments: ground-truth segments counted, and left out as empty or near-duplicate.
    detections: those of the K classes; unknown_video of them are in videos without ground truth, all false positives.
    unknown_label: detections ignored, of a class without ground truth.
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
        """Mean over thresholds, in [0, 1]."""
        return float(self.map.mean())


def mean_average_precision(
    ground_truth: GroundTruth, detections: Mapping[str, Detections], tious: Sequence[float], classes: Sequence[str]
) -> Metrics:
    """Mean average precision; the module's text has the rules.

    Args:
      tious: T thresholds.
      classes: names that the labels of both sides index.

    Raises:
      UserError: no threshold, no ground-truth segment, or detections and ground truth share no video or no class.
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
    """The segment that each detection takes, [P] int, -1 for none: a false positive.

    Args:
      tiou: [P, G] of a video's detections of a class, by falling score, and its segments of that class.
      threshold: tIoU from which a detection may take a segment (`>=`).
    """
    taken = np.full(len(tiou), -1)
    rows = np.flatnonzero((tiou >= threshold).any(axis=1))
    free = tiou[rows, ::-1]  # reversed: argmax finds the first, and of equal overlaps the later one is wanted
    for row, overlaps in zip(rows, free, strict=True):
        best = overlaps.argmax()
        if overlaps[best] >= threshold:
            taken[row] = tiou.shape[1] - 1 - best
            free[:, best] = -np.inf
    return taken


def average_precision(hits: Array, positives: int) -> Array:
    """All-point interpolated average precision.

    Args:
      hits: [..., N] bool, true positives among the detections of a class by falling score.
      positives: ground-truth segments of the class, at least 1.

    Returns:
      [...] float64: the sum over true positives of the best precision at or after them, divided by `positives`.
    """
    precision = np.cumsum(hits, axis=-1) / np.arange(1, hits.shape[-1] + 1)
    return np.where(hits, best_from_here(precision), 0).sum(axis=-1) / positives


def best_from_here(precision: Array) -> Array:
    """Interpolated precision [..., N]: the best at or after each rank."""
    return np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
