"""Single NMS calls against the PyTorch release: indices and hard results exact, scores 1e-6, voted segments 1e-5."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from adatad_jax.postprocessing.nms import SoftNmsMethod, hard_nms, soft_nms, vote_segments
from tests.parity.goldens import load, reference_files

METHODS = dict(enumerate(("hard", "linear", "gaussian", "improved_gaussian")))  # the release's numbers


def test_every_method_has_a_number() -> None:
    assert set(METHODS.values()) == set(get_args(SoftNmsMethod))


@pytest.mark.parametrize("path", reference_files("nms_kernels"), ids=lambda p: p.stem)
def test_soft_nms_matches_release(path: Path) -> None:
    sidecar, arrays = load(path)
    cases = [case for case in sidecar["cases"] if case["kind"] == "soft"]
    if not cases:
        pytest.skip(f"{path} has no soft NMS")
    for case in cases:
        name = f"soft{case['i']}"
        indices, scores = soft_nms(
            arrays[f"{name}_segs"],
            arrays[f"{name}_scores"],
            method=METHODS[case["method"]],  # type: ignore[arg-type]
            max_num=case.get("max_num") or None,
            **{key: case[key] for key in ("iou_threshold", "sigma", "min_score", "t1", "t2")},
        )
        np.testing.assert_array_equal(indices, arrays[f"{name}_out_inds"], err_msg=name)
        np.testing.assert_array_equal(arrays[f"{name}_segs"][indices], arrays[f"{name}_out_segs"], err_msg=name)
        np.testing.assert_allclose(scores, arrays[f"{name}_out_scores"], rtol=0, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("path", reference_files("nms_kernels"), ids=lambda p: p.stem)
def test_hard_nms_and_voting_match_release(path: Path) -> None:
    sidecar, arrays = load(path)
    cases = [case for case in sidecar["cases"] if case["kind"] == "hard"]
    if not cases:
        pytest.skip(f"{path} has no hard NMS")
    for case in cases:
        name = f"hard{case['i']}"
        segments, scores = arrays[f"{name}_segs"], arrays[f"{name}_scores"]
        kept = hard_nms(
            segments,
            scores,
            iou_threshold=case["iou_threshold"],
            min_score=case["min_score"],
            max_num=case["max_num"] or None,
        )
        for what, ours in (("segs", segments[kept]), ("scores", scores[kept]), ("cls", arrays[f"{name}_cls"][kept])):
            np.testing.assert_array_equal(ours, arrays[f"{name}_out_{what}"], err_msg=name)
        voted_at = [key for key in arrays if key.startswith(f"{name}_voted_")]
        for key in voted_at:
            voted = vote_segments(segments[kept], segments, scores, float(key.removeprefix(f"{name}_voted_")))
            np.testing.assert_allclose(voted, arrays[key], rtol=0, atol=1e-5, err_msg=key)
