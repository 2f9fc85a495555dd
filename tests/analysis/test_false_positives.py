import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adatad_jax.analysis.false_positives import KINDS, false_positives, kinds_of
from adatad_jax.evaluation.ground_truth import segment_tiou
from adatad_jax.evaluation.mean_ap import mean_average_precision
from adatad_jax.postprocessing.detections import Detections
from tests.analysis.small_cases import (
    CLASSES,
    RANDOM_CASES,
    TIOUS,
    Results,
    Truth,
    detections,
    matched,
    random_case,
    truth,
)

NAMES = ("true positive", *KINDS)


@pytest.mark.parametrize(
    ("start", "end", "kind"),
    [
        (0, 10, "double detection"),
        (0, 5, "double detection"),  # tIoU 0.5, the threshold itself
        (0, 4, "localisation"),
        (9, 10, "localisation"),  # 0.1
        (9, 19, "background"),  # 1/19
        (20, 25, "wrong label"),
        (20, 24, "confusion"),
        (20, 21, "confusion"),
        (50, 60, "background"),
        (41, 46, "double detection"),  # 0.5 with its own label, 5/6 with the other: its own first
        (45, 47, "wrong label"),  # 0.2 with its own label, 0.5 with the other
        (46.5, 47.5, "localisation"),  # 0.1 with its own label, 0.1 / 0.4 with the other
    ],
)
def test_every_kind(start: float, end: float, kind: str) -> None:
    # the segments of label 0 are taken by detections of higher scores
    ground_truth = {"v": truth((0, 10, 0), (20, 30, 1), (40, 50, 0), (41, 47, 1), (43, 47, 1))}
    taking = [(0, 10, 0.9, 0), (40, 50, 0.9, 0)]
    found = {"v": detections(*taking, (start, end, 0.5, 0), (start, end, 0.5, 3)), "w": detections((0, 10, 0.4, 0))}
    kinds = kinds_of(matched(ground_truth, found, (0.5,)))[0]
    assert [NAMES[kind] for kind in kinds] == ["true positive", "true positive", kind, "background"]


def test_counts_ranks_and_cost() -> None:
    ground_truth = {"v": truth((0, 10, 0), (20, 30, 0), (40, 50, 1))}
    found = {
        "v": detections(
            # Dive, 2 segments: background; a hit; 0.6 of the other: localisation at 0.7, double detection never
            (60, 70, 0.9, 0),
            (0, 10, 0.8, 0),
            (20, 26, 0.7, 0),
            # Jump, 1 segment: a hit, then on a segment of Dive: wrong label; confusion at 0.7
            (40, 50, 0.9, 1),
            (20, 26, 0.8, 1),
        )
    }
    low, high = (false_positives(matched(ground_truth, found, (0.5, 0.7)), t) for t in (0, 1))
    assert (low.tiou, high.tiou) == (0.5, 0.7)
    assert dict(zip(NAMES, low.counts.tolist(), strict=True)) == {
        "true positive": 3,
        "background": 1,
        "confusion": 0,
        "localisation": 0,
        "wrong label": 1,
        "double detection": 0,
    }
    assert high.counts.tolist() == [2, 1, 1, 1, 0, 0]
    # first G: Dive's background and hit, Jump's hit; second G: Dive's third, Jump's second; no class has a third G
    np.testing.assert_allclose(low.by_rank[0], np.array([2, 1, 0, 0, 0, 0]) / 3)
    np.testing.assert_allclose(low.by_rank[1], np.array([1, 0, 0, 0, 1, 0]) / 2)
    np.testing.assert_array_equal(low.by_rank[2:], np.zeros((8, 6)))
    # Dive at 0.5: miss, hit, hit: 2/3, without background 1. At 0.7: miss, hit, miss: 1/4, without background 1/2.
    # The others come after the last hit and cost nothing; nor does Jump lose anything. Mean over classes, then tIoUs.
    for found_at in (low, high):
        np.testing.assert_allclose(found_at.cost, [((1 - 2 / 3) / 2 + (1 / 2 - 1 / 4) / 2) / 2, 0, 0, 0, 0])


def test_cost_is_told_apart_at_each_threshold() -> None:
    # 0.6 of its segment: a hit at 0.5; at 0.7 it is a localisation error above the hit, AP 1/2 instead of 1
    found = {"v": detections((0, 6, 0.9, 0), (0, 10, 0.8, 0))}
    cost = false_positives(matched({"v": truth((0, 10, 0))}, found, (0.5, 0.7)), 0).cost
    np.testing.assert_allclose(cost, [0, 0, 0.25, 0, 0])


def loop_kind(label: int, segment: np.ndarray, annotated: tuple[np.ndarray, np.ndarray], tiou: float) -> str:
    own, other = 0.0, 0.0
    for candidate, its_label in zip(*annotated, strict=True):
        overlap = segment_tiou(segment[None], candidate[None]).item() if candidate[1] > candidate[0] else 0
        if its_label == label:
            own = max(own, overlap)
        else:
            other = max(other, overlap)
    if own >= tiou:
        return "double detection"
    if other >= tiou:
        return "wrong label"
    if own >= 0.1:
        return "localisation"
    return "confusion" if other >= 0.1 else "background"


def loop(ground_truth: Truth, results: Results, tiou: float) -> dict[str, list[str]]:
    """Classifies each video's detections in the order given by plain loops; "" for labels without ground truth."""
    known = {int(k) for segments, labels in ground_truth.values() for k in labels[segments[:, 1] > segments[:, 0]]}
    kinds = {}
    for video, found in results.items():
        annotated = ground_truth.get(video, truth())
        segments, labels = annotated
        names, taken = [""] * len(found), set()
        for i in np.argsort(-found.scores, kind="stable").tolist():
            if found.labels[i] not in known:
                continue
            overlaps = segment_tiou(found.segments[i : i + 1], segments)[0]
            # a near-duplicate of an earlier segment does not count
            able = [
                (overlaps[g], g)
                for g in range(len(labels))
                if labels[g] == found.labels[i]
                and segments[g, 1] > segments[g, 0]
                and not any((segments[h] == segments[g]).all() and labels[h] == labels[g] for h in range(g))
                and g not in taken
                and overlaps[g] >= tiou
            ]
            if able:
                taken.add(max(able)[1])
            names[i] = "true positive" if able else loop_kind(found.labels[i], found.segments[i], annotated, tiou)
        kinds[video] = names
    return kinds


@pytest.mark.parametrize("seed", RANDOM_CASES)
def test_against_loops(seed: int) -> None:
    ground_truth, results = random_case(seed)
    by_tiou = {tiou: loop(ground_truth, results, tiou) for tiou in TIOUS}
    found = false_positives(matched(ground_truth, results), 1)

    flat = [name for names in by_tiou[0.5].values() for name in names]
    assert found.counts.tolist() == [flat.count(name) for name in NAMES]

    table = np.zeros((10, 6))
    scores, labels = (np.concatenate([getattr(d, n) for d in results.values()]) for n in ("scores", "labels"))
    metrics = mean_average_precision(ground_truth, results, TIOUS, CLASSES)
    for name in metrics.classes:
        k = CLASSES.index(name)
        of_class = [i for i in np.argsort(-scores, kind="stable") if labels[i] == k]
        one = mean_average_precision(
            {v: (s[c == k], c[c == k]) for v, (s, c) in ground_truth.items()}, {}, TIOUS, CLASSES
        ).segments  # of the class
        for rank, i in enumerate(of_class[: 10 * one]):
            table[rank // one, NAMES.index(flat[i])] += 1
    for row, shares in zip(table, found.by_rank, strict=True):
        np.testing.assert_allclose(shares, row / max(row.sum(), 1))

    for kind, cost in zip(KINDS, found.cost, strict=True):
        without = []
        for tiou in TIOUS:
            kept = {}
            for video, d in results.items():
                stays = np.array([name != kind for name in by_tiou[tiou][video]], bool)
                kept[video] = Detections(d.segments[stays], d.scores[stays], d.labels[stays])
            without.append(mean_average_precision(ground_truth, kept, [tiou], CLASSES).average_map)
        assert cost == pytest.approx(np.mean(without) - metrics.average_map, abs=1e-12)


@given(st.integers(0, 10**6))
def test_no_kind_gains_by_being_there(seed: int) -> None:
    found = false_positives(matched(*random_case(seed)), 0)
    assert (found.cost >= 0).all()
    np.testing.assert_allclose(found.by_rank.sum(axis=1) * (1 - found.by_rank.sum(axis=1)), 0, atol=1e-12)


def test_without_detections() -> None:
    for results in ({}, {"v": detections()}):
        found = false_positives(matched({"v": truth((0, 10, 0))}, results), 0)
        assert not found.counts.any()
        assert not found.by_rank.any()
        assert not found.cost.any()
