"""Recall of the ground truth: top-kx recall (Ego4D) and AR@AN (ActivityNet's proposal metric)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adatad_jax.evaluation.ground_truth import GroundTruth, by_class, counted, segment_tiou
from adatad_jax.postprocessing.detections import Detections

Array = np.ndarray

_PROPOSALS_PER_VIDEO = 100  # AN of AR@AN runs over 1..100
_AVERAGE_NUMBERS = (1, 5, 10, 50, 100)
_TOP_K_TIOU = 0.5
PROPOSAL_TIOUS = tuple(percent / 100 for percent in range(50, 100, 5))  # for AR@AN: 0.5:0.05:0.95, release rule


@dataclass(frozen=True)
class AverageRecall:
    """Average recall by number of proposals.

    Attributes:
      recall: [100] float64, AR@1 to AR@100, each the mean over tIoU thresholds.
      auc: area under `recall` divided by 100, in [0, 1].
    """

    recall: Array
    auc: float


def top_k_recall(
    ground_truth: GroundTruth,
    detections: Mapping[str, Detections],
    tious: Sequence[float],
    classes: Sequence[str],
    ks: Sequence[int] = (1, 5),
) -> Array:
    """Computes recall at kx, where one detection may cover several segments.

    For each class and video with n segments, only the k * n best-scoring detections are considered.

    Args:
      ground_truth: segments in seconds and labels of each video.
      detections: detections of each video.
      tious: T thresholds.
      classes: class names, indexed by the labels of both ground truth and detections.
      ks: values of k.

    Returns:
      [K, T, len(ks)] float64, with the K classes of the ground truth as in `mean_average_precision`; the mean over K is
      what is reported.

    Raises:
      UserError: there is no ground-truth segment, or detections and ground truth share no video or no class.
    """
    truth = counted(ground_truth, detections, classes)
    covered = {label: np.zeros((len(tious), len(ks))) for label in truth.positives}
    for video, found in detections.items():
        for label, mine, segments in by_class(truth, video, found):
            tiou = segment_tiou(found.segments[mine], segments)
            for column, k in enumerate(ks):
                best = tiou[: k * len(segments)].max(axis=0)
                covered[label][:, column] += [np.count_nonzero(best >= threshold) for threshold in tious]
    return np.stack([covered[label] / count for label, count in truth.positives.items()])


def average_recall(
    ground_truth: GroundTruth, detections: Mapping[str, Detections], tious: Sequence[float], classes: Sequence[str]
) -> AverageRecall:
    """Computes AR@AN: recall by the average number AN of proposals considered per video, ignoring classes.

    The same share of proposals is considered in every video, so a video with a longer list gets more of them.

    Args:
      ground_truth: segments in seconds and labels of each video.
      detections: detections of each video.
      tious: thresholds that recall is averaged over.
      classes: class names, indexed by the labels of both ground truth and detections.

    Raises:
      UserError: as `top_k_recall`.
    """
    truth = counted(ground_truth, detections, classes)
    wanted = len(truth.videos) * _PROPOSALS_PER_VIDEO
    share = wanted / max(sum(len(found) for found in detections.values()), 1)
    overlaps = []  # for each video, the tIoU [P, G] of its best proposals
    for video, (segments, _) in truth.videos.items():
        found = detections.get(video, Detections(np.empty((0, 2)), np.empty(0), np.empty(0)))
        best = np.argsort(-found.scores, kind="stable")[: int(len(found) * share)]
        overlaps.append(segment_tiou(found.segments[best], segments))

    proposals = np.arange(1, _PROPOSALS_PER_VIDEO + 1)
    covered = np.zeros((len(tious), len(proposals)))
    # The counts below are truncated and so depend on the order of multiplication, which is the release's.
    shares = proposals / _PROPOSALS_PER_VIDEO * (wanted / max(sum(len(tiou) for tiou in overlaps), 1))
    for tiou in overlaps:
        best_so_far = np.maximum.accumulate(np.pad(tiou, ((1, 0), (0, 0)), constant_values=-np.inf), axis=0)
        looked_at = best_so_far[np.minimum((len(tiou) * shares).astype(int), len(tiou))]
        covered += [np.count_nonzero(looked_at >= threshold, axis=1) for threshold in tious]
    recall = (covered / sum(truth.positives.values())).mean(axis=0)
    return AverageRecall(recall, float(np.trapezoid(recall, proposals)) / _PROPOSALS_PER_VIDEO)


def recall_figures(
    ground_truth: GroundTruth, detections: Mapping[str, Detections], classes: Sequence[str]
) -> dict[str, float]:
    """Computes the recall figures reported beside mAP.

    Args:
      ground_truth: segments in seconds and labels of each video.
      detections: detections of each video.
      classes: class names, indexed by the labels of both ground truth and detections.

    Returns:
      Fractions by name: AR@AN and the area under it, over `PROPOSAL_TIOUS`; and top-kx recall.

    Raises:
      UserError: as `top_k_recall`.
    """
    average = average_recall(ground_truth, detections, PROPOSAL_TIOUS, classes)
    figures = {f"AR@{number}": float(average.recall[number - 1]) for number in _AVERAGE_NUMBERS} | {"AUC": average.auc}
    ks = (1, 5)
    by_k = top_k_recall(ground_truth, detections, (_TOP_K_TIOU,), classes, ks).mean(axis=0)[0]
    return figures | {f"recall@{k}x tIoU {_TOP_K_TIOU:g}": float(recall) for k, recall in zip(ks, by_k, strict=True)}
