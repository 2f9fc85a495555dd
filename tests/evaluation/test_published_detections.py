"""Real detections of a published method on THUMOS-14, where the public data are available (`tests/real_data.py`)."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adatad_jax.evaluation.ground_truth import GroundTruth
from adatad_jax.evaluation.mean_ap import mean_average_precision
from adatad_jax.evaluation.results_file import read_results
from adatad_jax.evaluation.truth_file import load_truth
from adatad_jax.postprocessing.detections import Detections, merge_windows
from tests import records
from tests.real_data import FOLDER

RESULTS = FOLDER / "results"
TIOUS = (0.3, 0.4, 0.5, 0.6, 0.7)

pytestmark = pytest.mark.skipif(not RESULTS.is_dir(), reason=f"the public data are not there: {RESULTS}")


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@cache
def thumos() -> tuple[GroundTruth, dict[str, Detections], tuple[str, ...]]:
    """Reads ground truth and detections, with labels that index the sorted class names as in the reference arrays."""
    annotated = load_truth(FOLDER / "annotations" / "thumos_14_anno.json", "validation")
    return annotated.truth, *read_results(RESULTS / "delu_thumos14_proposals.json", annotated.classes)[:2]


def test_mean_ap_without_nms() -> None:
    ground_truth, detections, classes = thumos()
    expected = read(RESULTS / "delu_expected.json")["mAP_no_nms"]
    metrics = mean_average_precision(ground_truth, detections, TIOUS, classes)
    assert (metrics.detections, metrics.segments) == (expected["n_pred"], expected["n_gt"])
    assert metrics.average_map == pytest.approx(expected["opentad"]["average_mAP"], rel=0, abs=1e-9)
    np.testing.assert_allclose(metrics.map, [expected["opentad"][f"mAP@{t}"] for t in TIOUS], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["adatad_thumos", "soft_agnostic_vote", "hard_04"])
def test_mean_ap_and_every_row_after_nms(name: str) -> None:
    ground_truth, detections, classes = thumos()
    expected = read(RESULTS / "delu_expected.json")["after_nms"][f"delu|{name}"]
    nms = records.nms_settings(**expected["config"])
    settings = records.post_processing(nms=nms, rounded=False)
    kept = {video: merge_windows([found], settings) for video, found in detections.items()}

    # Voted segments are sums in float32, whose order is not fixed.
    voted = nms.voting_thresh > 0 and not nms.multiclass
    with np.load(RESULTS / "delu_nms_outputs.npz") as reference:
        for video, found in kept.items():
            table = reference[f"{name}/{video}"].astype(np.float64)
            assert len(found) == len(table), video
            np.testing.assert_array_equal(found.labels, table[:, 3])
            np.testing.assert_allclose(found.scores, table[:, 2], rtol=0, atol=1e-5)
            allowed = 3e-5 * np.maximum(1, abs(table[:, :2])) if voted else 1e-5
            assert (abs(found.segments - table[:, :2]) <= allowed).all(), video
    assert sum(map(len, kept.values())) == expected["num_out"]
    metrics = mean_average_precision(ground_truth, kept, TIOUS, classes)
    tolerance = 1e-5 if voted else 1e-9
    assert metrics.average_map == pytest.approx(expected["average_mAP"], rel=0, abs=tolerance)
