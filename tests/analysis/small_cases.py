"""Small ground truths and detections that the tests of the analysis share."""

from collections.abc import Mapping

import numpy as np

from adatad_jax.analysis.matching import Matching, match_all
from adatad_jax.evaluation.ground_truth import counted
from adatad_jax.postprocessing.detections import Detections

Truth = dict[str, tuple[np.ndarray, np.ndarray]]
Results = dict[str, Detections]

CLASSES = ("Dive", "Jump", "Swim", "Walk")
TIOUS = (0.3, 0.5, 0.7)
RANDOM_CASES = range(12)


def truth(*rows: tuple[float, float, int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns a video's segments from rows of start, end and label."""
    table = np.array(rows, float).reshape(-1, 3)
    return table[:, :2], table[:, 2].astype(int)


def detections(*rows: tuple[float, float, float, int]) -> Detections:
    """Returns a video's detections from rows of start, end, score and label."""
    table = np.array(rows, float).reshape(-1, 4)
    return Detections(table[:, :2], table[:, 2], table[:, 3].astype(int))


def matched(ground_truth: Truth, results: Mapping[str, Detections], tious: tuple[float, ...] = TIOUS) -> Matching:
    return match_all(counted(ground_truth, results, CLASSES), results, tious)


def random_case(seed: int) -> tuple[Truth, Results]:
    """Makes crowded videos on a grid of seconds, with at least one exact detection.

    Overlaps and scores are often equal. Segments may be duplicate or empty. A label and videos are on one side only.
    """
    rng = np.random.default_rng(seed)
    ground_truth, results = {"first": truth((3, 9, 1))}, {"first": detections((3, 9, 0.5, 1))}
    for v in range(6):
        start, length = rng.integers(0, 30, 12), rng.integers(0, 8, 12)
        chosen = np.stack([start, start + length, rng.integers(0, 3, 12)], axis=1)[: rng.integers(1, 13)]
        if v != 4:
            ground_truth[f"v{v}"] = truth(*chosen.tolist())
        count = int(rng.integers(0, 60))
        near = chosen[rng.integers(0, len(chosen), count)]
        start, length = near[:, 0] + rng.integers(-2, 3, count), near[:, 1] - near[:, 0] + rng.integers(-1, 3, count)
        label = np.where(rng.random(count) < 0.7, near[:, 2], rng.integers(0, 4, count))
        if v != 5:
            columns = [start, start + np.maximum(length, 1), rng.integers(0, 20, count) / 20, label]
            results[f"v{v}"] = detections(*np.stack(columns, axis=1).tolist())
    return ground_truth, results
