"""Windows, their ground truth and their frames, exactly as the PyTorch release lays them out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adatad_jax.data.annotations import load_annotations, read_classes, select_subset
from adatad_jax.data.grid_segments import ground_truth_in_frames, ground_truth_on_grid
from adatad_jax.data.windows import (
    grid_length,
    random_window,
    resize_ground_truth,
    resize_sampling,
    sliding_windows,
    window_frames,
)
from adatad_jax.errors import UserError
from tests.parity.goldens import load, reference_files

IGNORED = ("Ambiguous",)  # what the release's THUMOS data set skips
FILES = [path for path in reference_files("windows") if "sliding" in load(path)[0]]
files = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def videos_and_classes(path: Path) -> tuple[dict[str, Any], list[str], dict[str, Any]]:
    sidecar, _ = load(path)
    annotation = path.parent / sidecar["annotation"]
    classes = sidecar["classes"]
    named = annotation.with_name(annotation.name.replace("_anno.json", "_classes.txt"))
    if named.exists():
        assert list(read_classes(named)) == classes
    return select_subset(load_annotations(annotation), sidecar["subset_name"], annotation), classes, sidecar


def kept_in_window(
    segments: np.ndarray, labels: np.ndarray, first: int, end: int, stride: int, offset: int, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what the release keeps of segments in frames `[G, 2]` in a window: it leaves out windows without any.

    No published run trains on sliding windows, so that this rule stands in no package of ours.
    """
    cut = segments.astype(np.float64)
    if threshold > 0:
        cut = np.clip(cut, first * stride, (end - 1) * stride)
        completeness = (cut[:, 1] - cut[:, 0]) / np.maximum(segments[:, 1] - segments[:, 0], 1e-6)
        kept = completeness > threshold
        cut, labels = cut[kept], labels[kept]
    return (cut - first * stride - offset) / stride, labels


@files
def test_sliding_windows(path: Path) -> None:
    videos, classes, sidecar = videos_and_classes(path)
    assert sidecar["sliding"]
    for layout in sidecar["sliding"]:
        args = layout["args"]
        stride = args["feature_stride"] * args["sample_stride"]
        offset = args.get("offset_frames", 0)
        threshold = args.get("ioa_thresh", 0.75)
        expected = iter(layout["windows"])
        for name, video in videos.items():
            in_frames = ground_truth_in_frames(video, classes, IGNORED, filter_gt=args.get("filter_gt", False))
            length = grid_length(video.frames, stride)
            if not (args["test_mode"] or len(in_frames[0])):
                continue
            for first, end in sliding_windows(
                length, args["window_size"], args["window_overlap_ratio"], release_windows=True
            ):
                segments, labels = kept_in_window(*in_frames, first, end, stride, offset, threshold)
                if not (args["test_mode"] or len(segments)):
                    continue
                window = next(expected)
                found = (name, first, end - 1, end - first, first * stride, video.fps)
                assert found == tuple(
                    window[key] for key in ("video", "first", "last", "n", "window_start_frame", "fps")
                )
                if window["gt_window"] is not None:
                    wanted = np.array(window["gt_window"], window["gt_dtype"])
                    np.testing.assert_array_equal(segments.astype(wanted.dtype), wanted)
                    assert labels.tolist() == window["labels"]
        assert next(expected, None) is None


@files
def test_ground_truth_of_whole_videos(path: Path) -> None:
    videos, classes, sidecar = videos_and_classes(path)
    args = sidecar["sliding"][0]["args"]
    expected = iter(sidecar["padding_dataset"])
    for name, video in videos.items():
        stride = args["feature_stride"] * args["sample_stride"]
        segments, labels = ground_truth_on_grid(video, classes, IGNORED, stride, filter_gt=args.get("filter_gt", False))
        if offset := args.get("offset_frames", 0):  # of no published run; the release divides what is left
            frames, _ = ground_truth_in_frames(video, classes, IGNORED, filter_gt=args.get("filter_gt", False))
            segments = (frames - np.float32(offset)) / np.float32(stride)
        if not len(segments):
            continue
        wanted = next(expected)
        assert (name, video.fps) == (wanted["video"], wanted["fps"])
        assert segments.dtype == wanted["gt_dtype"]
        np.testing.assert_array_equal(segments, np.array(wanted["gt"], wanted["gt_dtype"]))
        assert labels.tolist() == wanted["labels"]
    assert next(expected, None) is None


@files
def test_frames_of_windows(path: Path) -> None:
    sidecar, arrays = load(path)
    assert sidecar["load_frames"]
    for entry in sidecar["load_frames"]:
        method = entry["LoadFrames"]["method"]
        check = METHODS[method]
        if entry["error"] and method == "resize":  # lengths for which the release makes one frame too many: ours work
            frames, _ = resized(entry)
            assert len(frames) == entry["results_in"]["resize_length"] * entry["LoadFrames"]["scale_factor"]
            continue
        if entry["error"]:
            with pytest.raises(UserError):
                check(entry)
            continue
        frames, mask = check(entry)
        np.testing.assert_array_equal(frames, arrays[f"{entry['key']}_frame_inds"], err_msg=entry["key"])
        np.testing.assert_array_equal(mask, arrays[f"{entry['key']}_masks"], err_msg=entry["key"])
        assert frames.shape == (entry["clip_len"] * entry["num_clips"],)


def sliding(entry: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    given = entry["results_in"]
    return window_frames(
        given["feature_start_idx"],
        given["feature_end_idx"] + 1,
        total_frames=given["total_frames"],
        stride=given["snippet_stride"],
        frames_per_position=entry["LoadFrames"]["scale_factor"],
        window=given["window_size"],
    )


def resize(entry: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    given = entry["results_in"]
    segments = resize_ground_truth(
        np.array(given["gt_segments"], np.float32), duration=given["duration"], positions=given["resize_length"]
    )
    check_truth(entry, segments, np.array(given["gt_labels"]))
    return resized(entry)


def resized(entry: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    given = entry["results_in"]
    return resize_sampling(
        total_frames=given["total_frames"],
        positions=given["resize_length"],
        frames_per_position=entry["LoadFrames"]["scale_factor"],
    )


def random_trunc(entry: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    given, settings = entry["results_in"], entry["LoadFrames"]
    calls: list[tuple[int, int]] = []
    recorded = [call for call in entry["randint"] if call[0] != "..."]

    def randint(low: int, high: int) -> int:
        expected = recorded[min(len(calls), len(recorded) - 1)]
        calls.append((low, high))
        assert [low, high] == expected[:2]
        return expected[2]

    window = random_window(
        np.array(given["gt_segments"], np.float32).reshape(-1, 2),
        np.array(given["gt_labels"], np.int32),
        total_frames=given["total_frames"],
        stride=given["snippet_stride"],
        frames_per_position=settings["scale_factor"],
        window=settings["trunc_len"],
        trunc_thresh=settings["trunc_thresh"],
        crop_ratio=settings["crop_ratio"],
        randint=randint,
    )
    totals = [call[1] for call in entry["randint"] if call[0] == "..."]
    assert len(calls) == (totals[0] if totals else len(recorded))
    assert window.found == (len(entry["gt_segments"]) > 0)
    check_truth(entry, window.segments, window.labels)
    return window.frames, window.mask


def check_truth(entry: dict[str, Any], segments: np.ndarray, labels: np.ndarray) -> None:
    wanted = np.array(entry["gt_segments"], entry["gt_dtype"]).reshape(-1, 2)
    assert segments.dtype == wanted.dtype
    np.testing.assert_array_equal(segments, wanted, err_msg=entry["key"])
    assert labels.tolist() == entry["gt_labels"]


METHODS = {"sliding_window": sliding, "resize": resize, "random_trunc": random_trunc}
