"""From the decoded proposals of windows to the detections of a video, and the ActivityNet results format.

With sliding windows (THUMOS and the other frame-grid data sets) each window's candidates go to seconds and are rounded;
then the windows of a video are joined and reduced by one NMS. Without (ActivityNet: one window is the whole video) each
window is reduced by NMS in grid units, then goes to seconds; windows are only joined. Both are release rules, and in
both a video-level classifier, if there is one, comes between seconds and rounding.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adatad_jax.errors import UserError
from adatad_jax.evaluation.nms import NmsSettings, nms_video

Array = np.ndarray

_SECONDS_DECIMALS, _SCORE_DECIMALS = 2, 4  # release rule
_PROBLEMS_SHOWN = 5


@dataclass(frozen=True)
class Detections:
    """Scored segments of one video: segments [N, 2] float64 seconds, scores [N] float64, labels [N] int64."""

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
    """From a model's outputs to detections; the defaults are the release's.

    pre_nms_thresh: candidates score above it. pre_nms_topk: the most of a window. A one-class model skips both.
    sliding_window: whether windows are joined before NMS (see the module's text).
    rounded: seconds to 2 and scores to 4 decimals, before and after NMS, as the release does; False: full precision.
    """

    pre_nms_thresh: float = 0.001
    pre_nms_topk: int = 2000
    nms: NmsSettings = field(default_factory=NmsSettings)
    sliding_window: bool = True
    rounded: bool = True

    def __post_init__(self) -> None:
        if self.pre_nms_topk < 1:
            raise UserError(f"post-processing: pre_nms_topk is {self.pre_nms_topk}, expected at least 1: correct it")


def window_candidates(proposals: Array, scores: Array, *, threshold: float, topk: int) -> tuple[Array, Array, Array]:
    """The best pairs of point and class of one window.

    Args:
      proposals: [P, 2] float32, decoded segments in grid positions.
      scores: [P, K] float32, after the sigmoid.
      threshold: pairs score strictly above it.
      topk: the most pairs. With K = 1 neither applies: all P points are candidates, in order (release rule).

    Returns:
      segments [N, 2] float32, scores [N] float32, labels [N] int64, by falling score (equal ones by point, then class).

    Raises:
      UserError: a proposal or score is NaN or infinite, which a comparison would drop in silence.
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
    """Seconds to 2 and scores to 4 decimals by Python's `round`: unlike `numpy.round` it is exact in the decimal."""
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
    """One window's share of its video's detections; `merge_windows` makes the video's of them.

    Args:
      proposals: [P, 2] float32 grid positions. scores: [P, K] float32. See `window_candidates`.
      seconds: grid positions [N, 2] of this window to seconds, clipped to its video.
      classify: gives class-agnostic detections the classes of their video (`classifier.VideoClassifier`).
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
    """The detections of a video from those of its windows, in the windows' order.

    With sliding windows: joined, one NMS, by falling score. Without: joined only, each window keeps its own order.
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


def results_to_json(results: Mapping[str, Detections], classes: Sequence[str]) -> dict[str, Any]:
    """Detections by video in the ActivityNet results format; videos and detections keep their order.

    Args:
      classes: names that `Detections.labels` index.
    """
    return {
        "version": "VERSION 1.3",
        "results": {
            video: [
                {"segment": segment, "label": classes[label], "score": score}
                for segment, score, label in zip(d.segments.tolist(), d.scores.tolist(), d.labels.tolist(), strict=True)
            ]
            for video, d in results.items()
        },
        "external_data": {},
    }


def results_from_json(
    data: Any, classes: Iterable[str] = (), *, source: str = "results"
) -> tuple[dict[str, Detections], tuple[str, ...]]:
    """Reads the ActivityNet results format.

    Args:
      data: the parsed file.
      classes: names that labels are to index. Labels it lacks are appended, so nothing is lost on the way.
      source: what to call the data in an error, as a rule the file.

    Returns:
      the detections by video, and the class names with what was appended.

    Raises:
      UserError: the structure is not that of the format; names the entries.
    """
    videos = data.get("results") if isinstance(data, dict) else None
    if not isinstance(videos, dict):
        raise UserError(
            f'{source}: found {_kind(data)}, expected the ActivityNet results format, {{"results": {{video: '
            '[{"segment": [start, end], "label": name, "score": number}]}}'
        )
    index = {name: k for k, name in enumerate(classes)}
    problems: list[str] = []
    results = {}
    for video, entries in videos.items():
        segments, scores, labels = [], [], []
        if not isinstance(entries, list):
            problems.append(f"{video}: found {_kind(entries)}")
            continue
        for position, entry in enumerate(entries):
            if not _is_entry(entry):
                problems.append(f"{video}[{position}]: found {str(entry)[:80]}")
                continue
            segments.append(entry["segment"])
            scores.append(entry["score"])
            labels.append(index.setdefault(entry["label"], len(index)))
        results[video] = Detections(segments, scores, labels)  # type: ignore[arg-type]
    if problems:
        shown = "; ".join(problems[:_PROBLEMS_SHOWN]) + ("; ..." if len(problems) > _PROBLEMS_SHOWN else "")
        raise UserError(
            f"{source}: {len(problems)} entries are not detections, expected a list of "
            f'{{"segment": [start, end] finite seconds, "label": name, "score": finite number}} per video: {shown}. '
            "Write the file anew"
        )
    return results, tuple(index)


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("label"), str):
        return False
    segment = entry.get("segment")
    if not isinstance(segment, list | tuple) or len(segment) != 2:
        return False
    return all(type(v) in (int, float) and math.isfinite(v) for v in (*segment, entry.get("score")))


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return f"an object with keys {sorted(value)[:_PROBLEMS_SHOWN]}"
    return f"a {type(value).__name__}"
