"""Windows to results against the PyTorch release, under every setting of a reference file.

Results are equal as multisets of rounded rows. Where segments are voted on, a boundary may differ by 0.01 (a rounding
edge), and rows whose score ties with the last kept one may be exchanged for others that tie.
"""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adatad_jax.data.windows import resized_to_seconds, to_seconds
from adatad_jax.postprocessing.detections import Detections, PostProcessing, merge_windows, window_detections
from adatad_jax.postprocessing.nms import NmsSettings
from tests import records
from tests.parity.goldens import load, reference_files

FILES = reference_files("postprocess")
NOT_SLIDING = "_notsliding"
Row = tuple[int, int, int, int]  # start and end in 1/100 s, score in 1/10000, label


def in_seconds(meta: Mapping[str, Any]) -> Any:
    if meta["fps"] == -1:  # the release's mark of a resampled video
        return partial(resized_to_seconds, positions=meta["resize_length"], duration=meta["duration"])
    return partial(
        to_seconds,
        stride=meta["snippet_stride"],
        window_start_frame=meta.get("window_start_frame", 0) + meta["offset_frames"],
        fps=meta["fps"],
        duration=meta["duration"],
    )


def nms_settings(mode: Mapping[str, Any]) -> NmsSettings:
    return records.nms_settings(**mode)


def windows_by_video(
    sidecar: Mapping[str, Any], arrays: Mapping[str, np.ndarray], settings: PostProcessing
) -> list[list[Detections]]:
    videos: dict[str, list[Detections]] = {}
    for i in (i for batch in sidecar["batches"] for i in batch):
        proposals, scores = arrays[f"in{i}_proposals"], arrays[f"in{i}_scores"]
        meta = sidecar["metas"][i]
        window = window_detections(proposals, scores.reshape(len(proposals), -1), settings, in_seconds(meta))
        videos.setdefault(meta["video_name"], []).append(window)
    return list(videos.values())


def rows(segments: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> Counter[Row]:
    """The rounded decimals as whole numbers, so that they compare exactly."""
    table = np.column_stack([np.rint(segments * 100), np.rint(scores * 10000), labels]).astype(int)
    return Counter(map(tuple, table.tolist()))


def expected_rows(arrays: Mapping[str, np.ndarray], name: str) -> Counter[Row]:
    return rows(*(arrays[f"{name}_{what}"] for what in ("segments_f64", "scores_f64", "labels")))


def without_allowed_differences(found: Counter[Row], expected: Counter[Row]) -> tuple[list[Row], list[Row]]:
    """The rows of voted results that differ by more than is allowed, on either side."""
    last = min((row[2] for row in expected), default=0)
    extra, missing = (sorted((a - b).elements()) for a, b in ((found, expected), (expected, found)))
    for row in extra.copy():
        near = (m for m in missing if m[2:] == row[2:] and abs(m[0] - row[0]) <= 1 and abs(m[1] - row[1]) <= 1)
        twin = next(near, None)
        if twin is not None:
            extra.remove(row)
            missing.remove(twin)
    return [row for row in extra if row[2] != last], [row for row in missing if row[2] != last]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_candidates_match_release(path: Path) -> None:
    sidecar, arrays = load(path)
    settings = records.post_processing(pre_nms_thresh=sidecar["pre_nms_thresh"], pre_nms_topk=sidecar["pre_nms_topk"])
    videos = windows_by_video(sidecar, arrays, settings)
    for j, windows in enumerate(videos):
        found = sum((rows(w.segments, w.scores, w.labels) for w in windows), Counter[Row]())
        assert found == expected_rows(arrays, f"prenms_v{j}")


@pytest.mark.parametrize(
    ("path", "mode"),
    [(path, mode) for path in FILES for mode in load(path)[0]["modes"]],
    ids=lambda v: getattr(v, "stem", v),
)
def test_results_match_release(path: Path, mode: str) -> None:
    sidecar, arrays = load(path)
    nms = nms_settings(sidecar["modes"][mode])
    voted = nms.voting_thresh > 0 and not nms.multiclass
    names = [name for name in (mode, mode + NOT_SLIDING) if f"{name}_v0_scores_f64" in arrays]
    assert mode in names
    for name in names:
        settings = records.post_processing(
            pre_nms_thresh=sidecar["pre_nms_thresh"],
            pre_nms_topk=sidecar["pre_nms_topk"],
            nms=nms,
            sliding_window=not name.endswith(NOT_SLIDING),
        )
        for j, windows in enumerate(windows_by_video(sidecar, arrays, settings)):
            merged = merge_windows(windows, settings)
            found, expected = rows(merged.segments, merged.scores, merged.labels), expected_rows(arrays, f"{name}_v{j}")
            if settings.sliding_window:
                assert (np.diff(merged.scores) <= 0).all()
            assert found.total() == expected.total()
            if voted:
                assert without_allowed_differences(found, expected) == ([], [])
            else:
                assert found == expected
