"""Sensitivity of detection quality to the segment's length, its coverage, and the number of instances in its video.

After DETAD (Alwassel et al., ECCV 2018, sections 3 and 4). mAP cannot be compared between sets of segments of unequal
size, because precision falls with the share of positives. Normalised precision replaces the number of segments of a
class by one number N for all, the mean number of segments per class over the whole data set. At a rank with recall R
and F false positives so far it is R N / (R N + F). The average mAP_N is the average precision from it, interpolated as
usual, averaged over classes and thresholds.

For a bucket of segments, only these segments are positives. A detection that takes a segment outside the bucket is
ignored, and one that takes no segment is a false positive. Classes without a segment in the bucket are left out of the
mean.

This differs from DETAD in two ways. DETAD has fixed bucket edges for each of its two data sets (such as 30, 60, 120 and
180 s, or 3, 6, 12 and 18 s), so that methods can be compared. Here the edges follow the segments at hand, since buckets
of a fifth of the segments each are meaningful for any videos. DETAD averages missed segments over thresholds; here they
are counted at one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context

import numpy as np

from adatad_jax.analysis.curves import area
from adatad_jax.analysis.matching import Matching

Array = np.ndarray

_NAMES = (("all",), ("S", "L"), ("S", "M", "L"), ("S", "M", "L", "XL"), ("XS", "S", "M", "L", "XL"))
_EXACT_DIGITS = 9
_LEAST_PRECISION = 0.05


@dataclass(frozen=True)
class Sensitivity:
    """Detection quality by buckets of one quantity of the segments.

    Attributes:
      quantity: "length" (seconds), "coverage" (fraction of the video) or "instances" (segments of the label in the
        video).
      names: names of the B buckets, from "XS" to "XL"; fewer if quintiles coincide, "all" if there is only one.
      edges: [B + 1] float, from 0: bucket b has edges[b] < x <= edges[b + 1].
      segments: [B] int, number of segments in each bucket; at least 1.
      map_n: [B] float, average mAP_N of each bucket, a fraction (see the module's docstring).
      missed: [B] float, fraction of the bucket's segments that no detection takes at the main threshold: false
        negatives. As in DETAD, the detections of a class end where the normalised precision falls to 0.05 for good.
    """

    quantity: str
    names: tuple[str, ...]
    edges: Array
    segments: Array
    map_n: Array
    missed: Array


def sensitivities(matching: Matching, durations: Mapping[str, float], t: int) -> tuple[Sensitivity, ...]:
    """Computes the sensitivities to length, coverage and number of instances.

    Args:
      matching: the matched detections.
      durations: duration of each video in seconds. If that of any video with segments is missing or not positive,
        coverage is left out.
      t: index of the threshold that missed segments are counted at.
    """
    lengths = _rounded(matching.segments[:, 1] - matching.segments[:, 0])
    videos = matching.segment_videos
    pairs = videos * len(matching.positives) + matching.segment_labels
    quantities = {"length": lengths}
    seconds = np.array([durations.get(matching.names[v], math.nan) for v in videos.tolist()], np.float64)
    if (np.isfinite(seconds) & (seconds > 0)).all():
        quantities["coverage"] = np.minimum(_rounded(lengths / seconds), 1)
    quantities["instances"] = np.bincount(pairs)[pairs].astype(np.float64)
    return tuple(_sensitivity(matching, quantity, values, t) for quantity, values in quantities.items())


def average_map_n(matching: Matching) -> float:
    """Returns the average mAP_N of all segments, a fraction, to compare that of the buckets with."""
    return float(_map_n(matching, np.zeros(len(matching.segments), np.int64))[0])


def _sensitivity(matching: Matching, quantity: str, values: Array, t: int) -> Sensitivity:
    edges = bucket_edges(values)
    buckets = np.searchsorted(edges, values) - 1
    counts = np.bincount(buckets)
    missed = _missed(matching, t)
    return Sensitivity(
        quantity=quantity,
        names=_NAMES[len(counts) - 1],
        edges=edges,
        segments=counts,
        map_n=_map_n(matching, buckets),
        missed=np.bincount(buckets, missed) / counts,
    )


def bucket_edges(values: Array) -> Array:
    """Chooses the edges of at most five buckets (edges[b], edges[b + 1]], none of them empty.

    The edges are the quintiles, and those that coincide are merged. They are rounded to as few digits as keep every
    bucket filled, but at least two.

    Args:
      values: [S] positive floats, S at least 1.

    Returns:
      [B + 1] float64, the first edge 0.
    """
    # Observed values, not means of two: each lies in the bucket it ends, and counts of instances stay whole numbers.
    exact = np.unique(np.quantile(values, [0.2, 0.4, 0.6, 0.8, 1], method="inverted_cdf"))
    for digits in range(2, _EXACT_DIGITS):
        inner = [_round(edge, digits) for edge in exact[:-1].tolist()]
        edges = np.array([0, *inner, _round_up(exact[-1].item(), digits)])
        if np.bincount(np.searchsorted(edges, values) - 1, minlength=len(exact)).all():
            return edges
    return np.array([0, *exact])


def _map_n(matching: Matching, buckets: Array) -> Array:
    """Returns the average mAP_N [B] of the segments in each bucket; `buckets` [S] int is the bucket of each segment."""
    thresholds, classes, size = len(matching.tious), len(matching.positives), int(buckets.max()) + 1
    positives = np.zeros((classes, size), np.int64)
    np.add.at(positives, (matching.segment_labels, buckets), 1)
    normal = matching.positives.mean()
    ap = np.zeros((thresholds, classes, size))
    for t in range(thresholds):
        for k in range(classes):
            positions, segments = matching.true_positives(t, k)
            false, bucket = positions - np.arange(len(positions)), buckets[segments]
            for b in np.unique(bucket).tolist():
                mine = bucket == b
                recalled = np.arange(1, mine.sum() + 1) / positives[k, b] * normal
                ap[t, k, b] = area(recalled / (recalled + false[mine]), positives[k, b])
    annotated = positives > 0
    result: Array = np.where(annotated, ap.mean(axis=0), 0).sum(axis=0) / annotated.sum(axis=0)
    return result


def _missed(matching: Matching, t: int) -> Array:
    """Marks the segments [S] that no detection takes at threshold t before precision falls to 0.05 for good."""
    missed, normal = np.ones(len(matching.segments), bool), matching.positives.mean()
    for k, count in enumerate(matching.positives.tolist()):
        positions, segments = matching.true_positives(t, k)
        hits = np.arange(1, len(positions) + 1)
        recalled, false = hits / count * normal, positions + 1 - hits
        useful = np.flatnonzero(recalled / (recalled + false) > _LEAST_PRECISION)
        missed[segments[: useful.max(initial=-1) + 1]] = False
    return missed


def _rounded(values: Array) -> Array:
    """Removes the rounding noise of subtraction, which would make equal lengths differ."""
    return np.array([_round(value, _EXACT_DIGITS) for value in values.tolist()])


def _round(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def _round_up(value: float, digits: int) -> float:
    return float(Context(prec=digits, rounding=ROUND_CEILING).create_decimal(repr(value)))
