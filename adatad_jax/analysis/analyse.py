"""Error analysis of temporal action detection: what limits the mAP, in the manner of DETAD (ECCV 2018)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console

from adatad_jax.analysis.confusion import confusion_matrix
from adatad_jax.analysis.curves import precision_curves
from adatad_jax.analysis.false_positives import KINDS, FalsePositives, false_positives
from adatad_jax.analysis.matching import match_all
from adatad_jax.analysis.sensitivity import Sensitivity, average_map_n, sensitivities
from adatad_jax.analysis.tables import false_positives_table, sensitivity_table
from adatad_jax.analysis.videos import video_ap
from adatad_jax.errors import UserError
from adatad_jax.evaluation.ground_truth import GroundTruth, counted
from adatad_jax.postprocessing.detections import Detections

Array = np.ndarray

_USUAL_TIOU = 0.5


@dataclass(frozen=True)
class Analysis:
    """The result of `analyse`, over the K classes of the ground truth.

    Attributes:
      tiou: threshold of everything that is counted at a single threshold (see `main_threshold`).
      false_positives: kinds of false positives and the mAP that each costs.
      average_map_n: normalised average mAP of all segments, a fraction, to compare the sensitivities with.
      sensitivities: by length, coverage (left out if a duration is unknown) and number of instances, in this order.
      confusion: [K, K + 1] int, see `confusion_matrix`.
      video_ap: average precision of each video that has segments, a fraction; see `videos.video_ap`.
      curves: [K, 101] float, interpolated precision at recall 0, 0.01, ..., 1 at `tiou`.
      classes: names of the K classes.
    """

    tiou: float
    false_positives: FalsePositives
    average_map_n: float
    sensitivities: tuple[Sensitivity, ...]
    confusion: Array
    video_ap: dict[str, float]
    curves: Array
    classes: tuple[str, ...]


def analyse(
    truth: GroundTruth,
    results: Mapping[str, Detections],
    durations: Mapping[str, float],
    tious: Sequence[float],
    classes: Sequence[str],
) -> Analysis:
    """Analyses detections against the ground truth, by the rules of `mean_average_precision`.

    Args:
      truth: segments in seconds and labels of each video.
      results: detections of each video.
      durations: duration of each video in seconds.
      tious: thresholds that mAP is averaged over.
      classes: class names, indexed by the labels of both `truth` and `results`.

    Raises:
      UserError: there is no threshold or no ground-truth segment, or detections and ground truth share no video or no
        class.
    """
    if not len(tious):
        raise UserError("the list of tIoU thresholds is empty, expected at least one, such as 0.5: set it")
    counts = counted(truth, results, classes)
    matching = match_all(counts, results, tious)
    t = main_threshold(tious)
    return Analysis(
        tiou=float(tious[t]),
        false_positives=false_positives(matching, t),
        average_map_n=average_map_n(matching),
        sensitivities=sensitivities(matching, durations, t),
        confusion=confusion_matrix(counts, results, tious[t]),
        video_ap=video_ap(matching),
        curves=precision_curves(matching, t),
        classes=tuple(classes[label] for label in counts.positives),
    )


def main_threshold(tious: Sequence[float]) -> int:
    """Returns the index of 0.5 in the list, or else of its middle value (the higher of two)."""
    usual = np.flatnonzero(np.isclose(tious, _USUAL_TIOU))
    return int(usual[0] if usual.size else np.argsort(tious, kind="stable")[len(tious) // 2])


def analysis_to_json(analysis: Analysis) -> dict[str, Any]:
    """Returns all figures by name, as fractions or counts; shares of no detections are null."""
    errors, six = analysis.false_positives, ("true positive", *KINDS)
    return {
        "tIoU": analysis.tiou,
        "average_mAP_N": analysis.average_map_n,
        "false_positives": {
            "counts": _named(six, errors.counts),
            "shares_by_rank": [_named(six, row) if row.any() else None for row in errors.by_rank],
            "average_mAP_gained": _named(KINDS, errors.cost),
        },
        "sensitivity": {s.quantity: _buckets(s) for s in analysis.sensitivities},
        "confusion": {
            name: {
                "segments": int(row.sum()),
                "missed": int(row[-1]),
                "found_as": {analysis.classes[j]: int(row[j]) for j in np.flatnonzero(row[:-1]).tolist()},
            }
            for name, row in zip(analysis.classes, analysis.confusion, strict=True)
        },
        "video_AP": analysis.video_ap,
        "precision_by_recall": _named(analysis.classes, analysis.curves),
    }


def _named(names: Sequence[str], values: Array) -> dict[str, Any]:
    return dict(zip(names, values.tolist(), strict=True))


def _buckets(sensitivity: Sensitivity) -> dict[str, dict[str, float]]:
    columns = {
        "above": sensitivity.edges[:-1],
        "up_to": sensitivity.edges[1:],
        "segments": sensitivity.segments,
        "average_mAP_N": sensitivity.map_n,
        "missed": sensitivity.missed,
    }
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return {name: dict(zip(columns, row, strict=True)) for name, row in zip(sensitivity.names, rows, strict=True)}


def print_analysis(analysis: Analysis, console: Console) -> None:
    """Prints two tables, in percent: detections by kind, and segments by length, coverage and number of instances."""
    console.print(false_positives_table(analysis.false_positives))
    console.print(sensitivity_table(analysis.sensitivities, analysis.average_map_n, analysis.tiou))
