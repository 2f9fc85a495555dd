import numpy as np

from adatad_jax.evaluation.recall import average_recall, top_k_recall
from adatad_jax.postprocessing.detections import Detections

CLASSES = ["Dive", "Jump"]


def detections(rows: list[tuple[float, float, float, int]]) -> Detections:
    table = np.array(rows, float).reshape(-1, 4)
    return Detections(table[:, :2], table[:, 2], table[:, 3].astype(int))


def test_top_k_recall_looks_at_k_times_as_many_as_there_are_segments() -> None:
    ground_truth = {
        "v": (np.array([[0, 10], [20, 30]]), np.array([0, 0])),
        "w": (np.array([[0, 10], [0, 10]]), np.array([0, 1])),
    }
    found = {
        "v": detections([(20, 30, 0.1, 0), (50, 60, 0.8, 0), (0, 8, 0.9, 0), (50, 60, 0.2, 0)]),
        "w": detections([(50, 60, 0.9, 0), (0, 10, 0.8, 0)]),
    }
    # Dive, three segments. v: the best 2 cover [0, 10] (by 0.8), the best 4 both. w: the best 1 nothing, the best 2 it.
    # Jump: no detection.
    recall = top_k_recall(ground_truth, found, [0.5, 0.9], CLASSES, ks=(1, 2))
    np.testing.assert_allclose(recall, np.array([[[1 / 3, 1], [0, 2 / 3]], [[0, 0], [0, 0]]]))


def test_top_k_recall_is_not_exclusive() -> None:
    ground_truth = {"v": (np.array([[0, 10], [1, 11]]), np.array([0, 0]))}
    assert top_k_recall(ground_truth, {"v": detections([(0, 10, 0.9, 0)])}, [0.8], CLASSES, ks=(1,)).item() == 1


def test_average_recall_gives_a_longer_list_more_looks() -> None:
    # Two videos, 100 proposals each for AN = 100: 150 and 50 proposals share them 3 to 1.
    nowhere = [(90.0, 91.0, 0.5, 0)]
    ground_truth = {v: (np.array([[0, 10]]), np.array([0])) for v in "ab"}
    found = {
        "a": detections([*nowhere * 149, (0, 10, 0.1, 1)]),  # the 150th, of another class: seen at AN = 100 only
        "b": detections([*nowhere * 9, (0, 5, 0.1, 0), *nowhere * 40]),  # ranked last, at 50 too, tIoU 0.5
    }
    found["b"] = Detections(found["b"].segments, np.linspace(1, 0, 50), found["b"].labels)  # now ranked 10th
    measured = average_recall(ground_truth, found, [0.5, 0.6], CLASSES)
    # At AN = j, int(1.5 j) and int(0.5 j) are looked at: b's 10th from j = 20 on, at one of two thresholds: 1/4 of all.
    expected = np.where(np.arange(1, 101) >= 20, 0.25, 0.0)
    expected[-1] += 0.5
    np.testing.assert_allclose(measured.recall, expected)
    # Trapezoids over j: 80.5 and 0.5 steps wide
    np.testing.assert_allclose(measured.auc, (0.25 * 80.5 + 0.5 * 0.5) / 100)


def test_average_recall_of_a_short_list_ends_early() -> None:
    # One proposal in two videos: it is looked at as soon as int(j * 2 / 1) reaches 1, and covers 1 of 2 segments
    ground_truth = {v: (np.array([[0, 10]]), np.array([0])) for v in "ab"}
    measured = average_recall(ground_truth, {"a": detections([(0, 10, 0.9, 0)])}, [0.5], CLASSES)
    np.testing.assert_array_equal(measured.recall, np.full(100, 0.5))
    assert average_recall(ground_truth, {}, [0.5], CLASSES).auc == 0


def test_average_recall_cuts_every_list_to_its_share_first() -> None:
    # 3050 proposals in 11 videos, 1100 of them allowed: int(5 * 1100 / 3050) = 1 in each of ten videos, 1081 in the
    # other, 1091 kept. Of that one int(1081 * j * 11 / 1091) count: 1068 at j = 98, 1079 at j = 99. So its 1075th
    # is seen from there on. Uncut lists would give int(3000 * j * 11 / 3050), and 1071 at j = 99.
    ground_truth = {f"v{i}": (np.array([[0, 10]]), np.array([0])) for i in range(11)}
    found = {f"v{i}": detections([(90, 91, 0.5, 0)] * 5) for i in range(10)}
    found["v10"] = detections([*[(90, 91, 0.5, 0)] * 1074, (0, 10, 0.5, 0), *[(90, 91, 0.5, 0)] * 1925])
    measured = average_recall(ground_truth, found, [0.5], CLASSES)
    np.testing.assert_allclose(measured.recall, np.where(np.arange(1, 101) >= 99, 1 / 11, 0))
