"""Content of the report's tables and bars, in the order shown; shares and precisions are fractions."""

import math
from typing import NamedTuple

import numpy as np

from adatad_jax.analysis.analyse import Analysis
from adatad_jax.analysis.false_positives import KINDS, FalsePositives
from adatad_jax.analysis.sensitivity import Sensitivity
from adatad_jax.evaluation.mean_ap import Metrics

MATRIX_CLASSES = 30  # with more, only the most frequent confusions are listed
PAIRS_SHOWN = 30


class ClassRow(NamedTuple):
    """A class: its number of segments, its mean average precision, and that at each tIoU."""

    name: str
    segments: int
    average: float
    aps: tuple[float, ...]


class Pair(NamedTuple):
    """Segments of class `name` whose best detection has the label `other`; `share` is their share of the class."""

    name: str
    other: str
    segments: int
    share: float


class Kind(NamedTuple):
    """A kind of detection: how many, their share of all detections, and the average mAP that it costs."""

    name: str
    meaning: str
    detections: int
    share: float
    cost: float


class Bucket(NamedTuple):
    """A bucket of segments, with the range of values that it holds."""

    name: str
    span: str
    segments: int
    map_n: float
    missed: float


def class_rows(metrics: Metrics, analysis: Analysis) -> list[ClassRow]:
    """Returns a row for each class of the ground truth, the best first, equal ones by name."""
    rows = [
        ClassRow(name, int(segments), float(aps.mean()), tuple(aps.tolist()))
        for name, segments, aps in zip(metrics.classes, analysis.confusion.sum(axis=1), metrics.per_class, strict=True)
    ]
    return sorted(rows, key=lambda row: (-row.average, row.name))


def ap_at(metrics: Metrics, tiou: float) -> np.ndarray:
    """Returns the average precision [K] of each class at one tIoU of the list."""
    return metrics.per_class[:, np.isclose(metrics.tious, tiou).argmax()]


def confused_pairs(analysis: Analysis) -> list[Pair]:
    """Returns the pairs of different classes that are confused, the most frequent first."""
    wrong = ~np.eye(len(analysis.classes), dtype=bool)
    return _pairs(analysis, list(analysis.classes), analysis.confusion[:, :-1] * wrong)


def missed_classes(analysis: Analysis) -> list[Pair]:
    """Returns the classes with segments that no detection overlaps enough, the most frequent first."""
    return _pairs(analysis, ["missed"], analysis.confusion[:, -1:])


def _pairs(analysis: Analysis, columns: list[str], counts: np.ndarray) -> list[Pair]:
    totals = analysis.confusion.sum(axis=1)
    pairs = [
        Pair(analysis.classes[row], columns[column], int(counts[row, column]), counts[row, column] / totals[row])
        for row, column in np.argwhere(counts).tolist()
    ]
    return sorted(pairs, key=lambda pair: (-pair.segments, -pair.share, pair.name, pair.other))


def kinds(found: FalsePositives) -> list[Kind]:
    """Returns true positives, at a cost of 0, then each kind of false positive."""
    limit = f"{found.tiou:g}"
    meanings = (
        "finds a segment",
        "overlaps nothing (tIoU below 0.1)",
        f"wrong label, and tIoU from 0.1 to {limit}",
        f"right label, but tIoU from 0.1 to {limit}",
        f"wrong label, tIoU at least {limit}",
        "right label and place, but the segment has a better-scoring detection",
    )
    total = max(int(found.counts.sum()), 1)
    return [
        Kind(name, meaning, int(count), int(count) / total, float(cost))
        for name, meaning, count, cost in zip(
            ("true positive", *KINDS), meanings, found.counts, (0, *found.cost), strict=True
        )
    ]


def buckets(sensitivity: Sensitivity) -> list[Bucket]:
    """Returns the buckets of one quantity, with the range of values that each holds."""
    return [
        Bucket(name, _span(sensitivity, b), int(sensitivity.segments[b]), float(sensitivity.map_n[b]), float(missed))
        for b, (name, missed) in enumerate(zip(sensitivity.names, sensitivity.missed, strict=True))
    ]


def _span(sensitivity: Sensitivity, bucket: int) -> str:
    low, high = (float(edge) for edge in sensitivity.edges[bucket : bucket + 2])
    if sensitivity.quantity == "instances":  # whole numbers above `low`
        first, last = math.floor(low) + 1, math.floor(high)
        return f"{first}" if first == last else f"{first} to {last}"
    factor, unit = (100, "%") if sensitivity.quantity == "coverage" else (1, " s")
    return f"{factor * low:g} to {factor * high:g}{unit}"
