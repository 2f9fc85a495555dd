"""Sentences that tell, from the figures, what limits the mAP."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from adatad_jax.analysis.analyse import Analysis
from adatad_jax.evaluation.mean_ap import Metrics
from adatad_jax.report.figures import buckets, class_rows, confused_pairs, kinds

FEW = 3  # classes named
FEWEST_SHARE = 0.05  # smallest share of the segments in a bucket that is worth a sentence
WORTH_TELLING = 1e-4  # smallest difference that shows, as percentages have two decimals


class Finding(NamedTuple):
    """A finding: its topic, and sentences on it."""

    topic: str
    text: str


def findings(metrics: Metrics, analysis: Analysis, undetected: Sequence[int]) -> list[Finding]:
    """Writes sentences on the largest cost, missed segments, boundaries, weak classes, confusion and hard segments.

    Args:
      metrics: mean average precision.
      analysis: error analysis of the same detections.
      undetected: number of segments of each video without any detection.
    """
    found = [_costs(metrics, analysis), _missed(analysis, undetected)]
    by_tiou = sorted(zip(metrics.tious, metrics.map.tolist(), strict=True))
    (low, most), (high, least) = by_tiou[0], by_tiou[-1]
    if most - least >= WORTH_TELLING:
        found.append(
            Finding(
                "Boundaries",
                f"mAP is {percent(most)} at tIoU {low:g} and {percent(least)} at {high:g}: a steep fall means that "
                "actions are found, but not exactly where they start and end.",
            )
        )
    if len(metrics.classes) > FEW and np.ptp(metrics.per_class.mean(axis=1)) >= WORTH_TELLING:
        found.append(_weakest(metrics, analysis))
    if pairs := confused_pairs(analysis):
        pair = pairs[0]
        found.append(
            Finding(
                "Mixed up most",
                f"{pair.segments} of the segments of {pair.name} ({percent(pair.share, 1)}%) detected as {pair.other}.",
            )
        )
    return [*found, *_hardest(analysis)]


def percent(fraction: float, decimals: int = 2) -> str:
    """Formats a fraction in percent."""
    return f"{100 * fraction:.{decimals}f}"


def _costs(metrics: Metrics, analysis: Analysis) -> Finding:
    first, second, *_ = sorted(kinds(analysis.false_positives)[1:], key=lambda kind: -kind.cost)
    text = "No kind of false positive costs any mAP."
    if first.cost >= WORTH_TELLING:
        text = (
            f"Without {first.name} errors the average mAP would be {percent(metrics.average_map + first.cost)} "
            f"(+{percent(first.cost)})"
        )
        text += f"; next come {second.name} errors (+{percent(second.cost)})." if second.cost >= WORTH_TELLING else "."
    return Finding("Largest cost", text)


def _missed(analysis: Analysis, undetected: Sequence[int]) -> Finding:
    missed, total = int(analysis.confusion[:, -1].sum()), int(analysis.confusion.sum())
    text = (
        f"{missed} of {total} segments ({percent(missed / total, 1)}%) have no detection of any label that overlaps "
        f"them by at least tIoU {analysis.tiou:g}"
    )
    if undetected:
        text += f"; {sum(undetected)} of them are in the {len(undetected)} videos without any detection"
    return Finding("Missed", f"{text}.")


def _weakest(metrics: Metrics, analysis: Analysis) -> Finding:
    worst = class_rows(metrics, analysis)[::-1]
    named = ", ".join(f"{row.name} ({percent(row.average)})" for row in worst[:FEW])
    zero = sum(row.average == 0 for row in worst)
    if zero > FEW:
        named = f"{zero} of {len(worst)} have an AP of 0, such as {', '.join(row.name for row in worst[:FEW])}"
    return Finding("Weakest classes", f"{named}. Each counts as much as any other, however few segments it has.")


def _hardest(analysis: Analysis) -> list[Finding]:
    total = int(analysis.confusion.sum())
    candidates = [
        (bucket.map_n, sensitivity.quantity, bucket)
        for sensitivity in analysis.sensitivities
        for bucket in buckets(sensitivity)
        if bucket.segments >= FEWEST_SHARE * total and analysis.average_map_n - bucket.map_n >= WORTH_TELLING
    ]
    if not candidates:
        return []
    map_n, quantity, bucket = min(candidates)
    return [
        Finding(
            "Hardest segments",
            f"Those of {quantity} {bucket.name} ({bucket.span}): {bucket.segments} segments with an mAP_N of "
            f"{percent(map_n)}; that of all segments is {percent(analysis.average_map_n)}.",
        )
    ]
