import json

import numpy as np
import pytest

from adatad_jax.analysis.analyse import analyse, analysis_to_json, main_threshold
from adatad_jax.analysis.false_positives import KINDS
from adatad_jax.errors import UserError
from adatad_jax.evaluation.mean_ap import mean_average_precision
from tests.analysis.small_cases import CLASSES, RANDOM_CASES, TIOUS, Results, Truth, detections, random_case, truth
from tests.real_data import real_file


def test_the_threshold_to_count_at() -> None:
    assert main_threshold([0.3, 0.4, 0.5, 0.6, 0.7]) == 2
    assert main_threshold(np.arange(0.1, 0.95, 0.1)) == 4
    assert main_threshold([0.95, 0.5, 0.75]) == 1
    assert main_threshold([0.7, 0.3, 0.6]) == 2
    assert main_threshold([0.6, 0.7]) == 1


def test_what_is_put_together() -> None:
    ground_truth = {"v": truth((0, 10, 3), (20, 30, 1)), "w": truth((0, 10, 3))}
    found = {"v": detections((0, 6, 0.9, 3), (0, 10, 0.8, 1), (0, 10, 0.8, 0))}
    analysis = analyse(ground_truth, found, {"v": 40.0, "w": 40.0}, (0.5, 0.7, 0.8), CLASSES)
    assert analysis.tiou == analysis.false_positives.tiou == 0.5
    assert analysis.classes == ("Jump", "Walk")
    np.testing.assert_array_equal(analysis.false_positives.counts, [1, 0, 0, 0, 1, 0])
    # Walk: half of its segments at 0.5, none above; N = 1.5
    assert analysis.average_map_n == pytest.approx(0.5 / 2 / 3)
    assert [s.quantity for s in analysis.sensitivities] == ["length", "coverage", "instances"]
    assert analysis.confusion.tolist() == [[0, 0, 1], [0, 1, 1]]
    assert analysis.video_ap == pytest.approx({"v": 1 / 2 / 3, "w": 0})
    np.testing.assert_array_equal(analysis.curves, [[0] * 101, [1] * 51 + [0] * 50])


def test_json() -> None:
    ground_truth = {"v": truth((0, 10, 3), (20, 30, 1)), "w": truth((0, 10, 3))}
    found = {"v": detections((0, 6, 0.9, 3), (0, 10, 0.8, 1))}
    data = analysis_to_json(analyse(ground_truth, found, {"v": 40.0, "w": 20.0}, (0.5,), CLASSES))
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["tIoU"] == 0.5
    assert data["average_mAP_N"] == pytest.approx(0.25)
    errors = data["false_positives"]
    assert errors["counts"] == dict.fromkeys(KINDS, 0) | {"true positive": 1, "wrong label": 1}
    assert errors["shares_by_rank"][0] == dict.fromkeys(KINDS, 0) | {"true positive": 0.5, "wrong label": 0.5}
    assert errors["shares_by_rank"][1:] == [None] * 9
    assert errors["average_mAP_gained"] == dict.fromkeys(KINDS, 0)
    assert data["sensitivity"]["length"] == {
        "all": {"above": 0, "up_to": 10, "segments": 3, "average_mAP_N": pytest.approx(0.25), "missed": 2 / 3}
    }
    assert data["sensitivity"]["coverage"].keys() == {"S", "L"}
    assert data["sensitivity"]["coverage"]["L"] == {
        "above": 0.25,
        "up_to": 0.5,
        "segments": 1,
        "average_mAP_N": 0,
        "missed": 1,
    }
    assert data["confusion"] == {
        "Jump": {"segments": 1, "missed": 1, "found_as": {}},
        "Walk": {"segments": 2, "missed": 1, "found_as": {"Walk": 1}},
    }
    assert data["video_AP"] == {"v": 0.5, "w": 0}
    assert data["precision_by_recall"] == {"Jump": [0] * 101, "Walk": [1] * 51 + [0] * 50}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("ground_truth", "found"),
    [
        ({"v": truth((0, 10, 0))}, {}),
        ({"v": truth((0, 10, 0), (0, 10, 1))}, {"v": detections()}),
        ({"v": truth((0, 10, 0))}, {"v": detections((0, 10, 1, 0))}),
        ({"v": truth((0, 10, 0)), "none": truth(), "empty": truth((5, 5, 0))}, {"v": detections((50, 60, 0, 0))}),
        ({"v": truth((0, 1e-9, 0), (0, 1e5, 1))}, {"v": detections((5, 5, 0.5, 0), (7, 6, 0.5, 1))}),
        *(random_case(seed) for seed in RANDOM_CASES),
    ],
)
def test_every_figure_is_a_number(ground_truth: Truth, found: Results) -> None:
    analysis = analyse(ground_truth, found, {}, TIOUS, CLASSES)
    data = json.dumps(analysis_to_json(analysis), allow_nan=False)
    assert "null" not in json.dumps(json.loads(data)["sensitivity"])
    shares = [analysis.average_map_n, *analysis.video_ap.values(), *analysis.curves.ravel()]
    for sensitivity in analysis.sensitivities:
        shares += [*sensitivity.map_n, *sensitivity.missed]
    assert 0 <= min(shares) <= max(shares) <= 1


def test_refuses_nothing_to_analyse() -> None:
    with pytest.raises(UserError, match=r"ground truth .* 1 videos, 0 segments"):
        analyse({"v": truth()}, {}, {}, TIOUS, CLASSES)
    with pytest.raises(UserError, match=r"tIoU thresholds .*empty.*at least one"):
        analyse({"v": truth((0, 10, 0))}, {}, {}, [], CLASSES)


def test_real_detections() -> None:
    database = json.loads(real_file("annotations/thumos_14_anno.json").read_text())["database"]
    entries = json.loads(real_file("results/delu_thumos14_proposals.json").read_text())["results"]
    annotated = {video: entry for video, entry in database.items() if entry["subset"] == "validation"}
    classes = sorted({a["label"] for entry in annotated.values() for a in entry["annotations"]})
    ground_truth = {
        video: truth(*((*a["segment"], classes.index(a["label"])) for a in entry["annotations"]))
        for video, entry in annotated.items()
    }
    results = {
        video: detections(*((*d["segment"], d["score"], classes.index(d["label"])) for d in found))
        for video, found in entries.items()
    }
    durations = {video: entry["duration"] for video, entry in annotated.items()}
    tious = (0.3, 0.4, 0.5, 0.6, 0.7)
    metrics = mean_average_precision(ground_truth, results, tious, classes)
    analysis = analyse(ground_truth, results, durations, tious, classes)
    assert metrics.average_map == pytest.approx(0.19766570530079228, abs=1e-9)

    counts = analysis.false_positives.counts
    assert counts.sum() == metrics.detections == sum(map(len, entries.values()))
    np.testing.assert_allclose(analysis.false_positives.by_rank.sum(axis=1), 1)
    assert (analysis.false_positives.cost > 0).all()
    # the mean of the interpolated curve over 101 recalls is close to the area under it
    at_half = metrics.per_class[:, tious.index(0.5)]
    np.testing.assert_allclose(analysis.curves.mean(axis=1), at_half, atol=0.01)

    assert metrics.segments + metrics.dropped_segments == 3325
    assert analysis.confusion.sum() == metrics.segments
    assert len(analysis.video_ap) == 211
    for sensitivity in analysis.sensitivities:
        assert len(sensitivity.names) == 5
        assert sensitivity.segments.sum() == metrics.segments
        # quintiles, apart from the rounding of their edges
        np.testing.assert_allclose(sensitivity.segments, metrics.segments / 5, rtol=0.1)
        missed = (sensitivity.missed * sensitivity.segments).sum()
        assert missed >= metrics.segments - counts[0] - 1e-6  # some are found only where the precision is too low
