"""Ground-truth segments that detections are measured against, as the evaluator counts them.

Release rules: the subset is matched exactly, and every label in it is a class, including "Ambiguous". Empty and
reversed segments (end - start <= 0) are dropped; then each one with both ends within 1e-3 s of an earlier kept segment
of the same label.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adatad_jax.data.annotations import Video
from adatad_jax.errors import UserError, few
from adatad_jax.postprocessing.detections import Detections
from adatad_jax.video.names import name_hint

Array = np.ndarray
GroundTruth = Mapping[str, tuple[Array, Array]]
"""Video name to the video's segments [G, 2] in seconds and labels [G] int, in the annotation's order."""

_SAME_SECONDS = 1e-3
_UNION_FLOOR = 1e-8


def ground_truth_of(
    videos: Mapping[str, Video], classes: Sequence[str] = ()
) -> tuple[dict[str, tuple[Array, Array]], tuple[str, ...]]:
    """Collects the ground truth of annotated videos.

    Args:
      videos: annotated videos of one subset.
      classes: class names that labels are to index; names missing from it are appended.

    Returns:
      The ground truth of each video that has a segment, and the class names including those appended.
    """
    index = {name: k for k, name in enumerate(classes)}
    ground_truth = {
        name: (video.segments, np.array([index.setdefault(label, len(index)) for label in video.labels], np.int64))
        for name, video in videos.items()
        if video.labels
    }
    return ground_truth, tuple(index)


def segment_tiou(a: Array, b: Array) -> Array:
    """Computes the tIoU of all pairs of segments; the union is taken as at least 1e-8.

    Args:
      a: [N, 2] start and end.
      b: [M, 2] start and end, in the same unit.

    Returns:
      [N, M] float64.
    """
    a, b = np.asarray(a, np.float64)[:, None], np.asarray(b, np.float64)[None]
    inter = np.maximum(np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0]), 0)
    with np.errstate(over="ignore"):  # an absurdly long segment has an infinite union, and so a tIoU of 0
        union = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - inter
    result: Array = inter / np.maximum(union, _UNION_FLOOR)
    return result


def distinct_segments(segments: Array, labels: Array) -> Array:
    """Selects the segments of a video that count: not empty, and no near-duplicate of an earlier one that counts.

    Args:
      segments: [G, 2] seconds.
      labels: [G] int.

    Returns:
      Indices [N] int64 of the selected segments, in their order.
    """
    kept: list[int] = []
    for i in np.flatnonzero(segments[:, 1] - segments[:, 0] > 0).tolist():
        close = (np.abs(segments[kept] - segments[i]) <= _SAME_SECONDS).all(axis=1)
        if not (close & (labels[kept] == labels[i])).any():
            kept.append(i)
    return np.array(kept, np.int64)


@dataclass(frozen=True)
class CountedTruth:
    """Ground truth as the evaluator counts it.

    Attributes:
      videos: segments [G, 2] float64 in seconds and labels [G] int64 that count, of each video.
      positives: number of segments of each label that has any, by ascending label.
      dropped: number of segments left out as empty or near-duplicate.
    """

    videos: dict[str, tuple[Array, Array]]
    positives: dict[int, int]
    dropped: int


def counted(ground_truth: GroundTruth, detections: Mapping[str, Detections], classes: Sequence[str]) -> CountedTruth:
    """Selects the ground truth that counts.

    Input is refused if it would make every figure NaN or 0 through no fault of the detections.

    Args:
      ground_truth: segments in seconds and labels of each video.
      detections: detections of each video.
      classes: class names, indexed by the labels of both ground truth and detections.

    Raises:
      UserError: there is no segment, or detections and ground truth share no video or no class.
    """
    videos, given = {}, 0
    for video, (segments, labels) in ground_truth.items():
        segments, labels = np.asarray(segments, np.float64).reshape(-1, 2), np.asarray(labels, np.int64)
        kept = distinct_segments(segments, labels)
        videos[video] = segments[kept], labels[kept]
        given += len(segments)
    known, counts = np.unique(
        np.concatenate([np.empty(0, np.int64), *(v[1] for v in videos.values())]), return_counts=True
    )
    if not known.size:
        raise UserError(
            f"the ground truth has no segment to evaluate against: {len(videos)} videos, {given} segments, all empty; "
            "expected at least one: check the annotation file and the subset"
        )
    filled = {video: d for video, d in detections.items() if len(d)}
    if filled and not filled.keys() & videos.keys():
        raise UserError(
            f"no video of the detections is in the ground truth: detections are in {few(filled)}, "
            f"the ground truth has {few(videos)}; "
            + (name_hint(filled, videos) or "check the subset and the video names")
        )
    labels_found = np.unique(np.concatenate([np.empty(0, np.int64), *(d.labels for d in filled.values())]))
    if filled and not np.isin(labels_found, known).any():
        raise UserError(
            "no label of the detections is in the ground truth: "
            f"detections have {few([classes[k] for k in labels_found])}, "
            f"the ground truth has {few([classes[k] for k in known])}; check the class list"
        )
    positives = dict(zip(known.tolist(), counts.tolist(), strict=True))
    return CountedTruth(videos, positives, given - sum(positives.values()))


def by_class(truth: CountedTruth, video: str, found: Detections) -> Iterator[tuple[int, Array, Array]]:
    """Iterates over the classes of a video that have both segments and detections.

    Args:
      truth: counted ground truth.
      video: name of the video.
      found: detections of the video.

    Yields:
      The label; the indices [P] int of its detections in `found`, by falling score; and its segments [G, 2] in the
      annotation's order.
    """
    if video not in truth.videos:
        return
    segments, labels = truth.videos[video]
    ranked = np.argsort(-found.scores, kind="stable")
    for label in np.unique(labels).tolist():
        mine = ranked[found.labels[ranked] == label]
        if mine.size:
            yield label, mine, segments[labels == label]
