from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adatad_jax.analysis.matching import Matching
from adatad_jax.analysis.sensitivity import average_map_n, bucket_edges, sensitivities
from adatad_jax.evaluation.mean_ap import mean_average_precision
from tests.analysis.small_cases import CLASSES, RANDOM_CASES, TIOUS, detections, matched, random_case, truth


def test_normalised_precision_by_hand() -> None:
    # Dive, 2 segments: hit, miss, hit. N = 3 / 2, so 0.75 / 0.75, then 1.5 / 2.5. Jump, 1 segment: nothing.
    ground_truth = {"v": truth((0, 10, 0), (20, 30, 0), (0, 10, 1))}
    found = {"v": detections((0, 10, 0.9, 0), (40, 50, 0.8, 0), (20, 30, 0.7, 0))}
    assert average_map_n(matched(ground_truth, found)) == pytest.approx((1 + 0.6) / 2 / 2)


def test_equals_map_where_classes_are_of_one_size() -> None:
    rng = np.random.default_rng(0)
    segments = [(10 * i, 10 * i + 6, i % 4) for i in range(12)]
    found = {"v": detections(*((10 * i + d, 10 * i + 6 - d, rng.random(), i % 4) for i in range(12) for d in (0, 1)))}
    expected = mean_average_precision({"v": truth(*segments)}, found, TIOUS, CLASSES).average_map
    assert 0 < expected < 1
    assert average_map_n(matched({"v": truth(*segments)}, found)) == pytest.approx(expected)


def test_buckets_by_hand() -> None:
    # lengths 1, 2, 4, 8, 16 s, a fifth of the segments each; two instances in w, three in v
    ground_truth = {"v": truth((0, 1, 0), (10, 12, 0), (20, 24, 0)), "w": truth((0, 8, 0), (10, 26, 0))}
    found = {
        "v": detections((0, 1, 0.9, 0), (20, 24, 0.6, 0)),
        "w": detections((50, 60, 0.8, 0), (10, 26, 0.7, 0), (0, 2, 0.5, 0)),
    }
    length, coverage, instances = sensitivities(matched(ground_truth, found), {"v": 40.0, "w": 32.0}, 1)
    assert [s.quantity for s in (length, coverage, instances)] == ["length", "coverage", "instances"]

    assert length.names == ("XS", "S", "M", "L", "XL")
    np.testing.assert_allclose(length.edges, [0, 1, 2, 4, 8, 16])
    assert length.segments.tolist() == [1] * 5
    assert length.missed.tolist() == [0, 1, 0, 1, 0]
    # N = 5. One segment each, found at rank 0 with no false positive before; at 1 (the other hit is ignored); at 1
    np.testing.assert_allclose(length.map_n, [1, 0, 5 / 6, 0, 5 / 6])

    np.testing.assert_allclose(coverage.edges, [0, 0.025, 0.05, 0.1, 0.25, 0.5])
    np.testing.assert_allclose(coverage.missed, length.missed)

    assert instances.names == ("S", "L")
    np.testing.assert_array_equal(instances.edges, [0, 2, 3])
    assert instances.segments.tolist() == [2, 3]
    np.testing.assert_allclose(instances.missed, [1 / 2, 1 / 3])
    # w: second of its recall 1/2 after one false positive: 2.5 / 3.5 / 2. v: 1/3 after none, 2/3 after one.
    np.testing.assert_allclose(instances.map_n, [2.5 / 3.5 / 2, (1 + (10 / 3) / (10 / 3 + 1)) / 3])


def test_a_class_without_segments_in_the_bucket_is_left_out() -> None:
    ground_truth = {"v": truth((0, 1, 0), (10, 12, 0), (20, 22, 1))}
    found = {"v": detections((0, 1, 0.9, 0), (10, 12, 0.8, 0), (40, 42, 0.9, 1), (20, 22, 0.8, 1))}
    length = sensitivities(matched(ground_truth, found), {}, 0)[0]
    np.testing.assert_array_equal(length.edges, [0, 1, 2])
    # N = 1.5; longer ones: Dive 1, Jump 1.5 / 2.5
    np.testing.assert_allclose(length.map_n, [1, (1 + 0.6) / 2])


def found_in_time(matching: Matching, t: int) -> set[int]:
    """Finds, rank by rank, the segments taken before the normalised precision of their class falls to 0.05 for good."""
    found: set[int] = set()
    for k, positives in enumerate(matching.positives):
        hits, waiting, taken = 0, [], matching.taken[t, matching.of_class(k)]
        for rank, segment in enumerate(taken.tolist(), 1):
            if segment >= 0:
                hits += 1
                waiting.append(segment)
                normal = hits / positives * matching.positives.mean()
                if normal / (normal + rank - hits) > 0.05:
                    found.update(waiting)
                    waiting = []
    return found


def test_what_comes_after_a_hundred_false_positives_is_missed() -> None:
    """With N = 2, the second segment is found at a normalised precision of 2 / (2 + F)."""
    for false, missed in ((37, 0), (39, 1 / 2)):
        rows = [(0, 10, 0.9, 0), *((50, 60, 0.5, 0) for _ in range(false)), (20, 30, 0.1, 0)]
        matching = matched({"v": truth((0, 10, 0), (20, 30, 0))}, {"v": detections(*rows)}, (0.5,))
        assert sensitivities(matching, {}, 0)[0].missed.tolist() == [missed]


def loop_map_n(matching: Matching, inside: np.ndarray) -> float:
    by_tiou = []
    for t in range(len(matching.tious)):
        by_class = []
        for k in range(len(matching.positives)):
            positives = int((inside & (matching.segment_labels == k)).sum())
            if not positives:
                continue
            recalls, precisions, hits, misses = [0.0], [0.0], 0, 0
            for segment in matching.taken[t, matching.of_class(k)]:
                if segment >= 0 and not inside[segment]:
                    continue
                hits, misses = hits + (segment >= 0), misses + (segment < 0)
                recalls.append(hits / positives)
                normal = hits / positives * len(inside) / len(matching.positives)
                precisions.append(normal / (normal + misses))
            ap = sum((recalls[i] - recalls[i - 1]) * max(precisions[i:]) for i in range(1, len(recalls)))
            by_class.append(ap)
        by_tiou.append(np.mean(by_class))
    return float(np.mean(by_tiou))


@pytest.mark.parametrize("seed", RANDOM_CASES)
def test_against_loops(seed: int) -> None:
    matching = matched(*random_case(seed))
    count = len(matching.segments)
    assert average_map_n(matching) == pytest.approx(loop_map_n(matching, np.ones(count, bool)))
    durations = dict.fromkeys(matching.names, 25.0)
    for found in sensitivities(matching, durations, 1):
        values = []
        for segment, label, video in zip(
            matching.segments, matching.segment_labels, matching.segment_videos, strict=True
        ):
            length = segment[1] - segment[0]
            same = (matching.segment_labels == label) & (matching.segment_videos == video)
            values.append({"length": length, "coverage": min(length / 25, 1), "instances": same.sum()}[found.quantity])
        for b, name in enumerate(found.names):
            inside = np.array([found.edges[b] < value <= found.edges[b + 1] for value in values])
            missed = [s not in found_in_time(matching, 1) for s in np.flatnonzero(inside)]
            assert found.segments[b] == inside.sum() > 0, name
            assert found.missed[b] == pytest.approx(np.mean(missed))
            assert found.map_n[b] == pytest.approx(loop_map_n(matching, inside))
        assert found.segments.sum() == count


@given(st.lists(st.floats(1e-3, 1e5), min_size=1, max_size=60))
def test_no_bucket_is_empty(values: list[float]) -> None:
    edges = bucket_edges(np.array(values))
    assert edges[0] == 0
    assert 2 <= len(edges) <= 6
    filled = [sum(low < value <= high for value in values) for low, high in pairwise(edges)]
    assert min(filled) > 0
    assert sum(filled) == len(values)


def test_edges_are_quintiles_for_reading() -> None:
    lengths = np.linspace(1.0004, 101.0004, 1001)
    np.testing.assert_allclose(bucket_edges(lengths), [0, 21, 41, 61, 81, 110])
    # whole numbers stay whole, and a value that most share is a bucket of its own
    np.testing.assert_array_equal(bucket_edges(np.array([1.0] * 50 + [2] * 20 + [3] * 20 + [7] * 10)), [0, 1, 2, 3, 7])
    np.testing.assert_array_equal(bucket_edges(np.full(9, 4.0)), [0, 4])
    # two digits would empty a bucket: 1.01 and 1.02 need three
    np.testing.assert_allclose(bucket_edges(np.array([1.01, 1.02])), [0, 1.01, 1.02])


def test_equal_lengths_are_one_bucket_in_spite_of_rounding() -> None:
    starts = np.arange(40) * 10.1
    matching = matched({"v": truth(*((s, s + 0.3, 0) for s in starts))}, {})
    assert len(set((matching.segments[:, 1] - matching.segments[:, 0]).tolist())) > 1
    length, coverage, _ = sensitivities(matching, {"v": 700.0}, 0)
    assert (length.names, coverage.names) == (("all",), ("all",))
    np.testing.assert_allclose(length.edges, [0, 0.3])
    assert length.missed.tolist() == [1]


@pytest.mark.parametrize("durations", [{}, {"v": 50.0}, {"v": 50.0, "w": 0.0}, {"v": 50.0, "w": float("nan")}])
def test_coverage_is_left_out_without_all_durations(durations: dict[str, float]) -> None:
    matching = matched({"v": truth((0, 10, 0)), "w": truth((0, 10, 0)), "none": truth()}, {})
    assert [s.quantity for s in sensitivities(matching, durations, 0)] == ["length", "instances"]
    known = {"v": 50.0, "w": 8.0}  # of the videos with segments; one segment is longer than its video
    coverage = sensitivities(matching, known, 0)[1]
    np.testing.assert_allclose(coverage.edges, [0, 0.2, 1])
