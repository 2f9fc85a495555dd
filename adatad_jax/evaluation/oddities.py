"""Notes on what is odd about detections given the ground truth they are measured against, and how it counts."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from adatad_jax.errors import few
from adatad_jax.evaluation.ground_truth import CountedTruth, GroundTruth, by_class, counted, segment_tiou
from adatad_jax.postprocessing.detections import Detections
from adatad_jax.video.names import name_hint

# Seconds by which an end that was rounded to two decimals may lie beyond its video.
_BEYOND = 0.01


def oddities(
    truth: GroundTruth,
    results: Mapping[str, Detections],
    durations: Mapping[str, float],
    classes: Sequence[str],
) -> tuple[str, ...]:
    """Lists what is ignored, is missing, or counts in a way that may surprise.

    Args:
      truth: segments in seconds and labels of each video.
      results: detections of each video.
      durations: duration in seconds of each annotated video, also of those without a segment; NaN where unknown.
      classes: class names, indexed by the labels of both ground truth and detections.

    Returns:
      One line for each finding, which gives a count and the first cases.

    Raises:
      UserError: as `counted`.
    """
    measured = counted(truth, results, classes)
    notes = []
    total = sum(map(len, results.values()))
    if not total:
        notes.append("there is no detection at all: every figure is 0")
    if total and not _overlaps(measured, results):
        notes.append("no detection overlaps a segment of its label, so mAP is 0: are all times in seconds?")
    missed = [video for video in measured.videos if not len(results.get(video, ()))]
    if missed and total:
        there = len(measured.videos) - len(missed)
        notes.append(
            f"detections in {there} of the {len(measured.videos)} videos that have segments; the segments of the "
            f"other videos count as missed: {few(missed)}"
        )
    notes += _detections_elsewhere(measured, results, durations)
    notes += _odd_labels(measured, results, classes)
    notes += _odd_segments(results, durations)
    if measured.dropped:
        notes.append(
            f"{measured.dropped} annotated segments are left out: they are empty, or repeat one of the same label in "
            "the same video"
        )
    if lacking := [video for video in truth if not np.isfinite(durations.get(video, np.nan))]:
        notes.append(
            f"the duration of {len(lacking)} annotated videos is not known, so coverage is not analysed: {few(lacking)}"
        )
    return tuple(notes)


def _overlaps(truth: CountedTruth, results: Mapping[str, Detections]) -> bool:
    """Checks whether any detection overlaps a segment of its label."""
    return any(
        segment_tiou(found.segments[mine], segments).any()
        for video, found in results.items()
        for _, mine, segments in by_class(truth, video, found)
    )


def _detections_elsewhere(
    truth: CountedTruth, results: Mapping[str, Detections], durations: Mapping[str, float]
) -> Iterator[str]:
    """Yields notes on detections in videos that have no annotated segment or are not annotated at all."""
    filled = {video: len(found) for video, found in results.items() if len(found)}
    elsewhere = {video: count for video, count in filled.items() if video not in truth.videos}
    if empty := {video: count for video, count in elsewhere.items() if video in durations}:
        yield (
            f"{sum(empty.values())} detections in {len(empty)} videos that are annotated without a segment count as "
            f"false positives: {few(empty)}"
        )
    if strange := {video: count for video, count in elsewhere.items() if video not in durations}:
        hint = name_hint(strange, durations.keys() - filled.keys())
        yield (
            f"{sum(strange.values())} detections in {len(strange)} videos that are not annotated in this subset "
            f"count as false positives: {few(strange)}" + (f"; {hint}" if hint else "")
        )


def _odd_labels(truth: CountedTruth, results: Mapping[str, Detections], classes: Sequence[str]) -> Iterator[str]:
    """Yields notes on labels that are detected but not annotated, or annotated but not detected."""
    detected = Counter(label for found in results.values() for label in found.labels.tolist())
    unknown = Counter({label: count for label, count in detected.items() if label not in truth.positives})
    if unknown:
        names = [f"{classes[label]} ({count})" for label, count in unknown.most_common()]
        yield f"{unknown.total()} detections of labels without an annotated segment are ignored: {few(names)}"
    silent = [classes[label] for label in truth.positives if label not in detected]
    if silent and detected:
        yield (
            f"{len(silent)} of the {len(truth.positives)} annotated labels have no detection and an average "
            f"precision of 0: {few(silent)}"
        )


def _odd_segments(results: Mapping[str, Detections], durations: Mapping[str, float]) -> Iterator[str]:
    """Yields notes on detections that end before they start or lie outside their video."""
    reversed_: list[str] = []
    early: list[str] = []
    late: list[str] = []
    for video, found in results.items():
        start, end = found.segments.T
        for lines, odd in (
            (reversed_, end <= start),
            (early, start < 0),
            (late, end > durations.get(video, np.inf) + _BEYOND),  # false where the duration is NaN
        ):
            lines += [f"{video} [{first:g}, {last:g}]" for first, last in found.segments[odd].tolist()]
    for lines, what in (
        (reversed_, "end at or before their start, overlap nothing and count as false positives"),
        (early, "start before 0; they are measured as they are"),
        (late, "end after their video; they are measured as they are"),
    ):
        if lines:
            yield f"{len(lines)} detections {what}: {few(lines)}"
