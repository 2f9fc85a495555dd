"""Conversion of the decoded proposals of windows to the detections of a video.

With sliding windows (THUMOS and the other frame-grid data sets), the candidates of each window are converted to seconds
and rounded. The windows of a video are then joined and reduced by one NMS. Without sliding windows (ActivityNet: one
window is the whole video), each window is reduced by NMS in grid units and then converted to seconds, and windows are
only joined. Both are release rules. In both cases a video-level classifier, if there is one, is applied between the
conversion to seconds and rounding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adatad_jax.errors import UserError
from adatad_jax.postprocessing.nms import NmsSettings, nms_video

Array = np.ndarray

_SECONDS_DECIMALS, _SCORE_DECIMALS = 2, 4  # release rule


@dataclass(frozen=True)
class Detections:
    """Scored segments of one video.

    Attributes:
      segments: [N, 2] float64, start and end in seconds.
      scores: [N] float64.
      labels: [N] int64.

    Raises:
      ValueError: the arrays differ in length.
    """

    segments: Array
    scores: Array
    labels: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "segments", np.asarray(self.segments, np.float64).reshape(-1, 2))
        object.__setattr__(self, "scores", np.asarray(self.scores, np.float64))
        object.__setattr__(self, "labels", np.asarray(self.labels, np.int64))
        if self.scores.shape != (len(self),) or self.labels.shape != (len(self),):
            raise ValueError(f"{len(self)} segments, but scores {self.scores.shape} and labels {self.labels.shape}")

    def __len__(self) -> int:
        return len(self.segments)


@dataclass(frozen=True)
class PostProcessing:
    """Describes the conversion from a model's outputs to detections.

    Attributes:
      pre_nms_thresh: candidates score strictly above it; not used by a one-class model.
      pre_nms_topk: most candidates per window; not used by a one-class model.
      nms: settings of the NMS.
      sliding_window: whether windows are joined before NMS (see the module's docstring).
      rounded: whether to round seconds to 2 and scores to 4 decimals, before and after NMS, as the release does; False
        keeps full precision.
    """

    pre_nms_thresh: float
    pre_nms_topk: int
    nms: NmsSettings
    sliding_window: bool
    rounded: bool


def window_candidates(proposals: Array, scores: Array, *, threshold: float, topk: int) -> tuple[Array, Array, Array]:
    """Selects the best pairs of point and class of one window.

    Args:
      proposals: [P, 2] float32, decoded segments in grid positions.
      scores: [P, K] float32, after the sigmoid.
      threshold: pairs score strictly above it.
      topk: most pairs. With K = 1 neither limit applies: all P points are candidates, in order (release rule).

    Returns:
      Segments [N, 2] float32, scores [N] float32 and labels [N] int64, by falling score; equal scores are ordered by
      point, then class.

    Raises:
      UserError: a proposal or score is NaN or infinite, which a comparison would drop silently.
    """
    proposals, scores = np.asarray(proposals, np.float32).reshape(-1, 2), np.asarray(scores, np.float32)
    bad = int((~np.isfinite(scores)).sum()), int((~np.isfinite(proposals)).sum())
    if any(bad):
        raise UserError(
            f"the model's output: {bad[0]} of {scores.size} scores and {bad[1]} of {proposals.size} boundaries are "
            "NaN or infinite, expected finite numbers: check the checkpoint, and the compute precision"
        )
    classes = scores.shape[1]
    if classes == 1:
        return proposals, scores[:, 0], np.zeros(len(scores), np.int64)
    pairs = np.flatnonzero(scores > threshold)
    pairs = pairs[np.argsort(-scores.flat[pairs], kind="stable")[:topk]]
    points, labels = np.divmod(pairs, classes)
    return proposals[points], scores[points, labels], labels


def round_detections(detections: Detections) -> Detections:
    """Rounds seconds to 2 and scores to 4 decimals by Python's `round`: unlike `numpy.round` it is exact in decimal."""
    return Detections(
        _round(detections.segments, _SECONDS_DECIMALS), _round(detections.scores, _SCORE_DECIMALS), detections.labels
    )


def _round(values: Array, decimals: int) -> Array:
    return np.array([round(v, decimals) for v in values.ravel().tolist()], np.float64).reshape(values.shape)


def window_detections(
    proposals: Array,
    scores: Array,
    settings: PostProcessing,
    seconds: Callable[[Array], Array],
    classify: Callable[[Detections], Detections] | None = None,
) -> Detections:
    """Converts the outputs for one window to detections; `merge_windows` combines the windows of a video.

    Args:
      proposals: [P, 2] float32, decoded segments in grid positions.
      scores: [P, K] float32; see `window_candidates`.
      settings: how to convert them.
      seconds: converts grid positions [N, 2] of this window to seconds, clipped to its video.
      classify: gives class-agnostic detections the classes of their video (`video_classifier.VideoClassifier`).

    Raises:
      UserError: as `window_candidates`.
    """
    candidates = window_candidates(proposals, scores, threshold=settings.pre_nms_thresh, topk=settings.pre_nms_topk)
    if not settings.sliding_window:
        candidates = nms_video(*candidates, settings.nms)
    segments, kept_scores, labels = candidates
    detections = Detections(seconds(segments), kept_scores, labels)
    if classify is not None:
        detections = classify(detections)
    return round_detections(detections) if settings.rounded else detections


def merge_windows(windows: Sequence[Detections], settings: PostProcessing) -> Detections:
    """Merges the detections of a video's windows.

    With sliding windows, they are joined, reduced by one NMS, and ordered by falling score. Without, they are only
    joined, and each window keeps its own order.

    Args:
      windows: detections of each window, in the order of the windows.
      settings: how to merge them.
    """
    joined = Detections(
        np.concatenate([np.empty((0, 2)), *(w.segments for w in windows)]),
        np.concatenate([np.empty(0), *(w.scores for w in windows)]),
        np.concatenate([np.empty(0, np.int64), *(w.labels for w in windows)]),
    )
    if not settings.sliding_window:
        return joined
    merged = Detections(*nms_video(joined.segments, joined.scores, joined.labels, settings.nms))
    return round_detections(merged) if settings.rounded else merged


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
    """Lists the detections by falling score, equal ones in their order; labels index `classes`."""
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
