"""Contents of a timeline, computed by hand, and the choice of videos."""

import base64
from pathlib import Path

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from adatad_jax.postprocessing.detections import Detections
from adatad_jax.report.timelines import (
    FEWEST,
    MOST,
    Timeline,
    best_and_worst,
    lay_out,
    shown_detections,
    thumbnail_strip,
)

CLASSES = ("jump", "swim", "dive")


def detections(*rows: tuple[float, float, float, int]) -> Detections:
    table = np.array(rows, float).reshape(-1, 4)
    return Detections(table[:, :2], table[:, 2], table[:, 3].astype(int))


def timeline(found: Detections, *truth: tuple[float, float, int], duration: float = 20.0) -> Timeline:
    table = np.array(truth, float).reshape(-1, 3)
    return lay_out("v", 0.5, duration, (table[:, :2], table[:, 2].astype(int)), found, CLASSES, 0.5, [], "")


def test_bars_lie_where_their_seconds_are() -> None:
    shown = timeline(detections((5, 10, 0.9, 0)), (2, 7, 0))
    row = shown.rows[0]
    assert (row.truth[0].left, row.truth[0].width) == (10, 25)
    assert (row.found[0].left, row.found[0].width) == (25, 25)
    assert [place for place, _ in shown.ticks] == [0, 25, 50, 75, 100]
    assert [label for _, label in shown.ticks] == ["0:00", "0:05", "0:10", "0:15", "0:20"]


def test_matching_is_that_of_the_evaluation() -> None:
    # The first takes the segment, the second finds it taken, the third overlaps by 4 / 12, the last has none
    found = detections((0, 10, 0.9, 0), (0, 9, 0.8, 0), (16, 24, 0.7, 0), (0, 10, 0.6, 1))
    jump, swim = timeline(found, (0, 10, 0), (20, 28, 0), duration=40).rows
    assert [bar.matched for bar in jump.found] == [True, False, False]
    assert [bar.matched for bar in jump.truth] == [True, False]
    assert [bar.matched for bar in swim.found] == [False]
    assert [bar.lane for bar in jump.found] == [0, 1, 0]


def test_rows_follow_the_annotation_then_the_scores() -> None:
    found = detections((0, 1, 0.9, 1), (0, 1, 0.3, 0), (0, 1, 0.5, 2))
    shown = timeline(found, (10, 12, 2), (1, 2, 0))
    assert [row.name for row in shown.rows] == ["jump", "dive", "swim"]
    assert shown.drawn == 3


def test_detections_without_a_lane_are_counted() -> None:
    shown = timeline(detections(*[(0, 10, 0.9, 0)] * 7), (0, 10, 0))
    assert (shown.drawn, shown.crowded, shown.detections) == (4, 3, 7)


def test_axis_reaches_the_last_annotation_and_cuts_detections() -> None:
    row = timeline(detections((15, 90, 0.9, 0), (-5, 10, 0.9, 0)), (0, 40, 0), duration=20).rows[0]
    assert row.truth[0].width == 100
    assert [(bar.left, bar.width) for bar in row.found] == [(37.5, 62.5), (0, 25)]
    assert row.found[0].title == "jump 0.90, 15.0-90.0 s, not matched"
    assert timeline(detections((0, 50, 0.9, 0)), (0, 40, 0), duration=0).seconds == 50


def test_opacity_follows_the_score_also_above_one() -> None:
    faint, full = timeline(detections((0, 1, 0.5, 0), (2, 3, 1.0, 0)), (0, 1, 0)).rows[0].found[::-1]
    assert (faint.opacity, full.opacity) == (0.25 + 0.75 / 2, 1)
    half, most = timeline(detections((0, 1, 6, 0), (2, 3, 12, 0)), (0, 1, 0)).rows[0].found[::-1]
    assert (half.opacity, most.opacity) == (0.25 + 0.75 / 2, 1)


def test_which_detections_are_shown() -> None:
    scores = [(0, 1, score, 0) for score in (0.04, 0.8, 0.081, 0.079, 0.5)]
    assert shown_detections(detections(*scores), 1).tolist() == [1, 4, 2]
    many = detections(*[(0, 1, 0.5, 0)] * 1000)
    assert len(shown_detections(many, 1)) == FEWEST
    assert len(shown_detections(many, 30)) == 60
    assert len(shown_detections(many, 900)) == MOST
    below_zero = detections((0, 1, -1, 0), (0, 1, -2, 0))
    assert shown_detections(below_zero, 1).tolist() == [0, 1]
    assert not len(shown_detections(detections(), 5))


@given(st.dictionaries(st.text(max_size=2), st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=30))
def test_best_and_worst(video_ap: dict[str, float]) -> None:
    segments = {video: len(video) + 1 for video in video_ap}
    best, worst = best_and_worst(video_ap, segments)
    assert not set(best) & set(worst)
    assert len(best) + len(worst) == min(len(video_ap), 20)
    assert len(best) in (len(worst), len(worst) + 1)
    rest = [video_ap[video] for video in video_ap.keys() - {*best, *worst}]
    assert max([video_ap[video] for video in worst] + [0]) <= min([*rest, *(video_ap[video] for video in best)])
    assert min(video_ap[video] for video in best) >= max([*rest, 0])
    turned = dict(reversed(video_ap.items()))
    assert best_and_worst(turned, segments) == (best, worst)


def test_of_equal_videos_that_with_more_segments_comes_first() -> None:
    video_ap = dict.fromkeys("abcd", 0.0) | dict.fromkeys("wxyz", 1.0)
    segments = dict.fromkeys(video_ap, 1) | {"b": 5, "y": 7}
    assert best_and_worst(video_ap, segments) == (["y", "w", "x", "z"], ["b", "a", "c", "d"])


def test_thumbnails_show_the_video_in_order(video: Path) -> None:
    images, problem = thumbnail_strip(video, 30.0)
    assert not problem
    pictures = [
        cv2.imdecode(np.frombuffer(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,")), np.uint8), 1)
        for uri in images
    ]
    # The video is 400 x 96 pixels, and turns from black to white: the middle, twice as wide as high, is shown
    assert [picture.shape for picture in pictures] == [(96, 192, 3)] * 10
    brightness = [picture.mean() for picture in pictures]
    assert brightness == sorted(brightness)
    assert brightness[0] < 40
    assert brightness[-1] > 215
