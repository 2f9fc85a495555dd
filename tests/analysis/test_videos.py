import numpy as np
import pytest

from adatad_jax.analysis.videos import video_ap
from adatad_jax.evaluation.ground_truth import distinct_segments
from adatad_jax.evaluation.mean_ap import mean_average_precision
from tests.analysis.small_cases import CLASSES, RANDOM_CASES, TIOUS, detections, matched, random_case, truth


def test_by_hand() -> None:
    ground_truth = {
        "v": truth((0, 10, 0), (20, 30, 1)),
        "w": truth((0, 10, 0)),
        "none": truth(),
        "quiet": truth((0, 1, 1)),
    }
    found = {
        # Dive: a miss, then a hit at 0.5, at 0.7 none: (1/2 + 0) / 2. Jump: 1. Swim has no segment in the video.
        "v": detections((50, 60, 0.5, 0), (0, 6, 0.4, 0), (20, 30, 0.9, 1), (0, 10, 1, 2)),
        # the detection of Jump is a false positive of another video's class
        "w": detections((0, 10, 0.1, 0), (0, 10, 0.9, 1)),
    }
    by_video = video_ap(matched(ground_truth, found, (0.5, 0.7)))
    assert by_video == pytest.approx({"v": (0.25 + 1) / 2, "w": 1, "quiet": 0})


@pytest.mark.parametrize("seed", RANDOM_CASES)
def test_is_the_evaluation_of_the_video_alone(seed: int) -> None:
    ground_truth, results = random_case(seed)
    by_video = video_ap(matched(ground_truth, results))
    annotated = {v for v, (segments, labels) in ground_truth.items() if len(distinct_segments(segments, labels))}
    assert by_video.keys() == annotated
    for video, ap in by_video.items():
        found = results.get(video, detections())
        able = np.isin(found.labels, ground_truth[video][1]).any()
        alone = mean_average_precision({video: ground_truth[video]}, {video: found} if able else {}, TIOUS, CLASSES)
        assert ap == pytest.approx(alone.per_class.mean())
