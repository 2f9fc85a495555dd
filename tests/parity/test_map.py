"""The evaluator against the PyTorch release's: mAP, AP by class, top-kx recall, AR@AN, all within 1e-9."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adatad_jax.evaluation.ground_truth import GroundTruth
from adatad_jax.evaluation.mean_ap import mean_average_precision
from adatad_jax.evaluation.recall import average_recall, recall_figures, top_k_recall
from adatad_jax.evaluation.results_file import read_results
from adatad_jax.evaluation.truth_file import load_truth
from adatad_jax.postprocessing.detections import Detections
from tests.parity.goldens import load, reference_files

FILES = [path for path in reference_files("map") if not {"gt", "pred"} & set(path.stem.split("_"))]
assert_close = partial(np.testing.assert_allclose, rtol=0, atol=1e-9)


def inputs(path: Path, sidecar: Mapping[str, Any]) -> tuple[GroundTruth, dict[str, Detections], tuple[str, ...]]:
    """Ground truth and predictions lie beside map_x.json: map_gt_x.json or map_x_gt.json, or else map_gt.json."""

    def beside(kind: str) -> Path:
        own = [path.with_name(path.name.replace("map", f"map_{kind}", 1)), path.with_stem(f"{path.stem}_{kind}")]
        return next((p for p in own if p.exists()), path.with_name(f"map_{kind}.json"))

    annotated = load_truth(beside("gt"), sidecar["subset"])
    return annotated.truth, *read_results(beside("pred"), annotated.classes)[:2]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_mean_ap_and_recall_match_release(path: Path) -> None:
    sidecar, _ = load(path)
    ground_truth, detections, classes = inputs(path, sidecar)
    for name, tious in sidecar["thresholds"].items():
        expected = sidecar["results"][name]
        metrics = mean_average_precision(ground_truth, detections, tious, classes)
        assert set(metrics.classes) == set(expected["per_class_ap"])
        assert metrics.segments == expected["n_gt"]
        assert metrics.detections + metrics.unknown_label == expected["n_pred"]
        by_class = [expected["per_class_ap"][c] for c in metrics.classes]
        assert_close(metrics.per_class, by_class)
        assert_close(metrics.map, [expected["metrics"][f"mAP@{t}"] for t in tious])
        assert_close(metrics.average_map, expected["metrics"]["average_mAP"])

        ks = sidecar["top_k"]
        recall = top_k_recall(ground_truth, detections, tious, classes, ks)
        by_class = [expected["per_class_recall"][c] for c in metrics.classes]
        assert_close(recall, by_class)
        mean = [[expected["metrics"][f"recall@{t}@{k}"] for k in ks] for t in tious]
        assert_close(recall.mean(axis=0), mean)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_average_recall_matches_release(path: Path) -> None:
    sidecar, _ = load(path)
    if "recall_AR_AN" not in sidecar["results"]:
        pytest.skip(f"{path} has no AR@AN")
    expected = dict(sidecar["results"]["recall_AR_AN"])
    ground_truth, detections, classes = inputs(path, sidecar)
    tious = [percent / 100 for percent in range(50, 100, 5)]  # fixed in the release
    measured = average_recall(ground_truth, detections, tious, classes)
    assert_close(measured.auc, expected.pop("AUC"))
    numbers = [int(key.removeprefix("AR@")) for key in expected]
    assert_close(measured.recall[np.array(numbers) - 1], list(expected.values()))
    figures = recall_figures(ground_truth, detections, classes)
    shown = {name: figures[name] for name in sidecar["results"]["recall_AR_AN"] if name in figures}
    assert_close([shown[name] for name in shown], [sidecar["results"]["recall_AR_AN"][name] for name in shown])
    assert {"AUC", "AR@1", "AR@100"} <= set(shown)
    by_k = sidecar["results"]["thumos"]["metrics"]
    assert_close([figures[f"recall@{k}x tIoU 0.5"] for k in (1, 5)], [by_k[f"recall@0.5@{k}"] for k in (1, 5)])
