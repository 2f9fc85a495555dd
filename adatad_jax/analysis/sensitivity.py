"""How the quality of detection depends on the segment: its length, coverage and number in the video.

After DETAD (Alwassel et al., ECCV 2018, sections 3 and 4). mAP cannot be compared between sets of segments of unequal
size: precision falls with the share of positives. Normalised precision puts one number N in its place, the mean number
of segments of a class over the whole data set: R N / (R N + F) at a rank with recall R and F false positives so far.
Average precision of it, interpolated as ever, then the mean over classes and thresholds, is the average mAP_N. For a
bucket of segments only they are positives; a detection that takes a segment outside of it is ignored, one that takes
none is a false positive, and classes without a segment in it are left out of the mean.

Where we differ: DETAD has fixed edges for each of its two data sets (such as 30, 60, 120 and 180 s, or 3, 6, 12 and
18 s), so that methods can be compared; ours follow the segments at hand, since a fifth of them in each bucket is
meaningful for any videos. Missed segments, of which DETAD takes the mean over thresholds, are counted at one.
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
    """Quality by buckets of one quantity of the segments.

    Attributes:
      quantity: "length" (s), "coverage" (share of the video) or "instances" (segments of the label in the video).
      names: of the B buckets, from "XS" to "XL"; fewer if the quintiles coincide, "all" if there is but one.
      edges: [B + 1] float, from 0: bucket b has edges[b] < x <= edges[b + 1].
      segments: [B] int, how many are in the bucket; at least 1.
      map_n: [B] float, average mAP_N of them (see the module's text).
      missed: [B] float, share of them that no detection takes at the analysis' threshold: false negatives. As in DETAD
        detections end, for each class, where the normalised precision falls to 0.05 for good.
    """

    quantity: str
    names: tuple[str, ...]
    edges: Array
    segments: Array
    map_n: Array
    missed: Array


def sensitivities(matching: Matching, durations: Mapping[str, float], t: int) -> tuple[Sensitivity, ...]:
    """By length, coverage and number of instances; misses are counted at threshold t.

    Args:
      durations: seconds by video. If that of any video with segments is missing or not positive, coverage is left out.
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
    """Of all segments: what the buckets' are to be compared with."""
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
    """[B + 1] float edges of at most five buckets (edges[b], edges[b + 1]], from 0, none of them empty.

    The quintiles, those that coincide merged, with as few digits as keep every bucket filled, but at least two.

    Args:
      values: [S] positive, S at least 1.
    """
    # observed values, not means of two: each is in the bucket it ends, and counts of instances stay whole numbers
    exact = np.unique(np.quantile(values, [0.2, 0.4, 0.6, 0.8, 1], method="inverted_cdf"))
    for digits in range(2, _EXACT_DIGITS):
        inner = [_round(edge, digits) for edge in exact[:-1].tolist()]
        edges = np.array([0, *inner, _round_up(exact[-1].item(), digits)])
        if np.bincount(np.searchsorted(edges, values) - 1, minlength=len(exact)).all():
            return edges
    return np.array([0, *exact])


def _map_n(matching: Matching, buckets: Array) -> Array:
    """Average mAP_N [B] of the segments in each bucket; buckets is [S] int."""
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
    return np.where(annotated, ap.mean(axis=0), 0).sum(axis=0) / annotated.sum(axis=0)


def _missed(matching: Matching, t: int) -> Array:
    """Which segments [S] no detection takes at threshold t, short of those that nobody would look at."""
    missed, normal = np.ones(len(matching.segments), bool), matching.positives.mean()
    for k, count in enumerate(matching.positives.tolist()):
        positions, segments = matching.true_positives(t, k)
        hits = np.arange(1, len(positions) + 1)
        recalled, false = hits / count * normal, positions + 1 - hits
        useful = np.flatnonzero(recalled / (recalled + false) > _LEAST_PRECISION)
        missed[segments[: useful.max(initial=-1) + 1]] = False
    return missed


def _rounded(values: Array) -> Array:
    """Without the noise of subtraction, which would make equal lengths differ."""
    return np.array([_round(value, _EXACT_DIGITS) for value in values.tolist()])


def _round(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def _round_up(value: float, digits: int) -> float:
    return float(Context(prec=digits, rounding=ROUND_CEILING).create_decimal(repr(value)))
