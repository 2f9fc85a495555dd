"""Matching of detections with ground-truth segments at every threshold, the input of the error analysis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adatad_jax.evaluation.ground_truth import CountedTruth, by_class, segment_tiou
from adatad_jax.evaluation.mean_ap import match
from adatad_jax.postprocessing.detections import Detections

Array = np.ndarray

NOTHING = Detections(np.empty((0, 2)), np.empty(0), np.empty(0, np.int64))


@dataclass(frozen=True)
class Matching:
    """N detections of the ground truth's K classes, matched with its S segments at T thresholds.

    Detections are in the order in which mAP counts them: by class, then by falling score over all videos, equal scores
    in the order given. Those in videos without ground truth are included.

    Attributes:
      tious: [T] float64, thresholds.
      ends: [K + 1] int, detections `ends[k]:ends[k + 1]` are of class k.
      videos: [N] int, index in `names` of the detection's video; -1 if the video has no ground truth.
      taken: [T, N] int, index of the segment that a true positive takes; -1 for a false positive.
      own, other: [N] float64, largest tIoU in the video with a segment of the detection's own label, and of any other.
      segments: [S, 2] float64, seconds.
      segment_labels, segment_videos: [S] int, class in 0 .. K - 1, and index in `names`.
      names: names of the ground truth's videos.
      positives: [K] int, number of segments of each class, at least 1.
    """

    tious: Array
    ends: Array
    videos: Array
    taken: Array
    own: Array
    other: Array
    segments: Array
    segment_labels: Array
    segment_videos: Array
    names: tuple[str, ...]
    positives: Array

    def of_class(self, k: int) -> slice:
        """Returns the slice of the detections of class k."""
        return slice(self.ends[k], self.ends[k + 1])

    def true_positives(self, t: int, k: int) -> tuple[Array, Array]:
        """Returns the true positives of class k at threshold t, by falling score.

        Returns:
          Positions [H] int within `of_class(k)`, and indices [H] int of the segments that they take.
        """
        taken = self.taken[t, self.of_class(k)]
        positions = np.flatnonzero(taken >= 0)
        return positions, taken[positions]


def match_all(truth: CountedTruth, results: Mapping[str, Detections], tious: Sequence[float]) -> Matching:
    """Matches detections with segments by the evaluator's rule, so that true positives are those of mAP.

    Detections of labels without ground truth are ignored, as in mAP.

    Args:
      truth: counted ground truth.
      results: detections of each video.
      tious: T thresholds.
    """
    known = np.array(list(truth.positives))
    index = {video: v for v, video in enumerate(truth.videos)}
    first = np.cumsum([0, *(len(labels) for _, labels in truth.videos.values())])
    kept = {video: of_labels(found, known) for video, found in results.items()} or {"": NOTHING}
    columns = [_match_video(truth, video, found, tious, first[index.get(video, 0)]) for video, found in kept.items()]
    taken, own, other = (np.concatenate(parts, axis=-1) for parts in zip(*columns, strict=True))
    videos = np.concatenate([np.full(len(found), index.get(video, -1)) for video, found in kept.items()])
    scores = np.concatenate([found.scores for found in kept.values()])
    labels = np.searchsorted(known, np.concatenate([found.labels for found in kept.values()]))
    ranked = np.lexsort((-scores, labels))
    sizes = [len(segment_labels) for _, segment_labels in truth.videos.values()]
    return Matching(
        tious=np.asarray(tious, np.float64),
        ends=np.searchsorted(labels[ranked], np.arange(len(known) + 1)),
        videos=videos[ranked],
        taken=taken[:, ranked],
        own=own[ranked],
        other=other[ranked],
        segments=np.concatenate([segments for segments, _ in truth.videos.values()]),
        segment_labels=np.searchsorted(known, np.concatenate([labels for _, labels in truth.videos.values()])),
        segment_videos=np.repeat(np.arange(len(sizes)), sizes),
        names=tuple(truth.videos),
        positives=np.array(list(truth.positives.values())),
    )


def of_labels(found: Detections, known: Array) -> Detections:
    """Returns the detections whose label is in `known`."""
    mine = np.isin(found.labels, known)
    return found if mine.all() else Detections(found.segments[mine], found.scores[mine], found.labels[mine])


def _match_video(
    truth: CountedTruth, video: str, found: Detections, tious: Sequence[float], first: int
) -> tuple[Array, Array, Array]:
    """Returns taken [T, P], own [P] and other [P] of a video; `first` is the index of its first segment."""
    taken = np.full((len(tious), len(found)), -1)
    if video not in truth.videos:
        return taken, np.zeros(len(found)), np.zeros(len(found))
    segments, labels = truth.videos[video]
    tiou = segment_tiou(found.segments, segments)
    same = found.labels[:, None] == labels
    for label, mine, _ in by_class(truth, video, found):
        columns = np.flatnonzero(labels == label)
        overlaps = tiou[mine[:, None], columns]
        for t, threshold in enumerate(tious):
            chosen = match(overlaps, threshold)
            taken[t, mine] = np.where(chosen >= 0, first + columns[chosen], -1)
    own = np.where(same, tiou, 0).max(axis=1, initial=0)
    return taken, own, np.where(same, 0, tiou).max(axis=1, initial=0)
