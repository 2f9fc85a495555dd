"""Time of mAP compared with an evaluator that loops, as ActivityNet's does, and time of soft-NMS, all on one core.

`python -m benchmarks.evaluation [--videos N]`. The loop, which is written here, goes over pandas data frames class by
class, detection by detection and threshold by threshold. It must give our numbers on tests/golden/map*.json and on the
data that are timed. It takes minutes for the default of 211 videos. Needs pandas (`pip install pandas`), which the
project does not.
"""

import argparse
import dataclasses
import importlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adatad_jax.config.build import make_post_processing
from adatad_jax.config.fields import Config
from adatad_jax.evaluation.ground_truth import GroundTruth, counted
from adatad_jax.evaluation.mean_ap import mean_average_precision
from adatad_jax.evaluation.results_file import read_results
from adatad_jax.evaluation.truth_file import load_truth
from adatad_jax.postprocessing.detections import Detections
from adatad_jax.postprocessing.nms import nms_video
from benchmarks.results import add_write_option, report

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
TIOUS = (0.3, 0.4, 0.5, 0.6, 0.7)
DETECTIONS, CLASSES = 2000, 20  # detections per video; classes in all
CANDIDATES, ROUNDS = 3 * 2000, 15  # candidates of three windows

Results = Mapping[str, Detections]


def loop_evaluate(truth: GroundTruth, results: Results, tious: Sequence[float], classes: Sequence[str]) -> np.ndarray:
    """Computes the average precision `[K, thresholds]` of the labels in the ground truth, by the loop."""
    pandas: Any = importlib.import_module("pandas")
    segments = frame(pandas, {video: (*own, np.ones(len(own[1]))) for video, own in truth.items()})
    found = frame(pandas, {video: (d.segments, d.labels, d.scores) for video, d in results.items()})
    return np.array(
        [
            loop_average_precision(
                segments[segments["label"] == label].reset_index(drop=True), found[found["label"] == label], tious
            )
            for label in sorted(segments["label"].unique())
        ]
    )


def frame(pandas: Any, videos: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Any:
    """Makes a pandas data frame with one row per segment of all videos: video, start, end, label, score."""
    segments, labels, scores = (np.concatenate(columns) for columns in zip(*videos.values(), strict=True))
    names = np.repeat(list(videos), [len(labels) for _, labels, _ in videos.values()])
    columns = {"video": names, "start": segments[:, 0], "end": segments[:, 1], "label": labels, "score": scores}
    return pandas.DataFrame(columns)


def loop_average_precision(truth: Any, found: Any, tious: Sequence[float]) -> list[float]:
    """Computes the average precision of one class at each threshold, from data frames of segments and detections."""
    found = found.sort_values("score", ascending=False, kind="stable").reset_index(drop=True)
    hits = np.zeros((len(tious), len(found)))
    taken = np.zeros((len(tious), len(truth)), bool)
    by_video = truth.groupby("video")
    for row, detection in found.iterrows():
        try:
            own = by_video.get_group(detection["video"])
        except KeyError:
            continue
        overlap = loop_tiou(detection, own)
        best_first = np.argsort(overlap, kind="stable")[::-1]
        for t, threshold in enumerate(tious):
            for g in best_first:
                if overlap[g] < threshold:
                    break
                if not taken[t, own.index[g]]:
                    taken[t, own.index[g]] = True
                    hits[t, row] = 1
                    break
    return [loop_area(row, len(truth)) for row in hits]


def loop_tiou(detection: Any, own: Any) -> np.ndarray:
    """Computes the tIoU of a detection with each of a video's segments."""
    start, end = own["start"].to_numpy(), own["end"].to_numpy()
    shared = (np.minimum(end, detection["end"]) - np.maximum(start, detection["start"])).clip(0)
    union = (end - start) + (detection["end"] - detection["start"]) - shared
    overlap: np.ndarray = shared / union.clip(1e-8)
    return overlap


def loop_area(hits: np.ndarray, positives: int) -> float:
    """Computes the area under the interpolated curve of precision over recall."""
    right = np.cumsum(hits)
    precision = np.concatenate([[0], right / np.arange(1, len(hits) + 1), [0]])
    recall = np.concatenate([[0], right / positives, [1]])
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    steps = np.flatnonzero(recall[1:] != recall[:-1]) + 1
    return float(((recall[steps] - recall[steps - 1]) * precision[steps]).sum())


def check_golden() -> Iterator[str]:
    """Runs both evaluators on the reference files, a line per file; fails if they disagree."""
    for path in sorted(GOLDEN.glob("map*.json")):
        sidecar = json.loads(path.read_text())
        if "thresholds" not in sidecar:
            continue
        annotated = load_truth(GOLDEN / "map_gt.json", sidecar["subset"])
        results, classes, _ = read_results(GOLDEN / "map_pred.json", annotated.classes)
        for tious in sidecar["thresholds"].values():
            ours, loop = both(annotated.truth, results, tious, classes)[:2]
            yield f"{path.name}: average mAP {ours.mean():.12f}, by the loop {loop.mean():.12f}"


def both(truth: GroundTruth, results: Results, tious: Sequence[float], classes: Sequence[str]) -> tuple[Any, ...]:
    """Runs both evaluators, which must agree.

    Returns:
      Our average precisions `[K, thresholds]`, the loop's, our seconds, the loop's.
    """
    ours, seconds = timed(lambda: mean_average_precision(truth, results, tious, classes).per_class)
    # The data set's rule on which annotated segments count is the same for both.
    counting = counted(truth, results, classes).videos
    loop, loop_seconds = timed(lambda: loop_evaluate(counting, results, tious, classes))
    np.testing.assert_allclose(ours, loop, rtol=0, atol=1e-12)
    return ours, loop, seconds, loop_seconds


def timed(function: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    """Returns the result of a function, and the seconds that it takes."""
    start = time.perf_counter()
    value = function()
    return value, time.perf_counter() - start


def make_results(videos: int) -> tuple[GroundTruth, Results]:
    """Makes ground truth and detections like those of THUMOS-14.

    Each video has 16 segments of one or two classes. Half of the detections are near one of the segments.
    """
    rng = np.random.default_rng(0)
    truth, results = {}, {}
    for name in (f"video_{number:04}" for number in range(videos)):
        segments = spans(rng, 16)
        labels = rng.choice(rng.integers(0, CLASSES, 2), 16)
        near = rng.integers(0, 16, DETECTIONS // 2)
        length = np.diff(segments[near], axis=1)
        close = np.sort(segments[near] + rng.normal(0, 0.3, (len(near), 2)) * length, axis=1)
        far = spans(rng, DETECTIONS - len(near))
        truth[name] = segments, labels
        results[name] = Detections(
            np.concatenate([close, far]),
            rng.random(DETECTIONS),
            np.concatenate([labels[near], rng.integers(0, CLASSES, len(far))]),
        )
    return truth, results


def spans(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draws segments `[count, 2]` of a few seconds that start within 190 s."""
    start = rng.uniform(0, 190, count)
    return np.stack([start, start + rng.gamma(2, 2, count) + 0.2], axis=1)


def time_soft_nms(classes: int, kept: int) -> str:
    """Returns the time of soft-NMS for one video, as a line."""
    rng = np.random.default_rng(0)
    segments, scores = spans(rng, CANDIDATES), rng.beta(0.5, 3, CANDIDATES)
    labels = rng.integers(0, classes, CANDIDATES)
    settings = dataclasses.replace(make_post_processing(Config()).nms, max_seg_num=kept)
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        nms_video(segments, scores, labels, settings)
        seconds.append(time.perf_counter() - start)
    return (
        f"soft-NMS, {CANDIDATES} candidates in {classes} class{'es' * (classes > 1)}, at most {kept} kept: median "
        f"{1e3 * np.median(seconds):.1f} ms, minimum {1e3 * min(seconds):.1f} ms of {ROUNDS} rounds"
    )


def main() -> None:
    """Checks that both evaluators agree, and prints the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=211, help="number of videos to measure mAP on")
    add_write_option(parser)
    args = parser.parse_args()
    report("benchmarks.evaluation", measure(args.videos), args.write)


def measure(videos: int) -> Iterator[str]:
    """Yields a line per measurement, on one core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for classes in (CLASSES, 1):
        for kept in (2000, CANDIDATES):
            yield time_soft_nms(classes, kept)
    yield from check_golden()
    truth, results = make_results(videos)
    names = [f"class {k}" for k in range(CLASSES)]
    ours, _, seconds, loop_seconds = both(truth, results, TIOUS, names)
    yield (
        f"mAP of {videos} videos x {DETECTIONS} detections, {len(ours)} classes, {len(TIOUS)} tIoU: {seconds:.2f} s, "
        f"the loop {loop_seconds:.1f} s: {loop_seconds / seconds:.0f} times as fast, average mAP {ours.mean():.6f}"
    )


if __name__ == "__main__":
    main()
