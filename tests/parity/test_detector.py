"""ActionFormer against the PyTorch release: every level, points, targets, losses, normaliser, proposals."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adatad_jax.detection.losses import loss_sums, update_normalizer
from adatad_jax.detection.points import Points, make_points
from adatad_jax.detection.proposals import decode, flatten_levels
from adatad_jax.detection.targets import assign_targets
from adatad_jax.models.adatad import ActionFormer, Predictions
from adatad_jax.models.sizes import DetectorConfig
from tests.golden import synth
from tests.parity.goldens import load, reference_files
from tests.parity.reference_models import detector_config, detector_params, synthetic_state

FEATURES = 5e-5
LOSSES = 1e-5
PROPOSALS = 2e-4
SCORES = 2e-6


class Reference:
    """One reference file and our model with its weights."""

    def __init__(self, path: Path) -> None:
        self.sidecar, self.arrays = load(path)
        self.upstream: dict[str, Any] = self.sidecar["upstream_cfg"]
        self.head = self.upstream["rpn_head"]
        self.config: DetectorConfig = detector_config(self.upstream)
        channels = self.upstream["projection"]["in_channels"]
        self.params = detector_params(self.config, synthetic_state(self.sidecar), channels)

    def features(self, given: Mapping[str, Any], name: str) -> tuple[np.ndarray, np.ndarray]:
        """Features `[B, T, C]` and mask `[B, T]` of one of the sidecar's inputs."""
        features = synth.normal(self.sidecar["seed"], given[name], given["shape"]).transpose(0, 2, 1)
        lengths = np.array(given["lengths"])
        return features, np.arange(features.shape[1]) < lengths[:, None]

    def run(self, features: np.ndarray, mask: np.ndarray) -> tuple[Predictions, dict[str, Any]]:
        return jax.jit(
            lambda p, x, m: ActionFormer(self.config).apply(
                {"params": p}, x, m, capture_intermediates=True, mutable=["intermediates"]
            )
        )(self.params, features, mask)


@pytest.fixture(scope="module", params=reference_files("detector_"), ids=lambda p: p.stem)
def reference(request: pytest.FixtureRequest) -> Reference:
    return Reference(request.param)


@pytest.fixture(scope="module")
def outputs(reference: Reference) -> tuple[Predictions, dict[str, Any]]:
    inputs = reference.sidecar["inputs"]
    given = {**inputs["feats"], "lengths": inputs["lengths"]}
    return reference.run(*reference.features(given, "name"))


def close(got: Any, expected: np.ndarray, name: str) -> None:
    """`got` is `[B, T, C]`, the reference `[B, C, T]`."""
    np.testing.assert_allclose(np.swapaxes(got, 1, 2), expected, rtol=0, atol=FEATURES, err_msg=name)


def test_every_level_matches(reference: Reference, outputs: tuple[Predictions, dict[str, Any]]) -> None:
    predictions, captured = outputs
    arrays, found = reference.arrays, captured["intermediates"]
    projection = found["projection"]
    for i in range(reference.config.embed):
        close(projection[f"embed_{i}"]["__call__"][0], arrays[f"embed{i}"], f"embed{i}")
    for i in range(reference.config.stem):
        close(projection[f"stem_{i}"]["__call__"][0], arrays[f"stem{i}"], f"stem{i}")
    levels = projection["__call__"][0]
    for i in range(len(reference.config.strides)):
        close(levels[i], arrays[f"proj_feat{i}"], f"proj_feat{i}")
        close(found["neck"]["__call__"][0][i], arrays[f"neck_feat{i}"], f"neck_feat{i}")
        close(predictions.logits[i], arrays[f"cls_logits{i}"], f"cls_logits{i}")
        close(predictions.distances[i], arrays[f"reg{i}"], f"reg{i}")
        np.testing.assert_array_equal(predictions.masks[i], arrays[f"mask{i}"])


def ground_truth(reference: Reference, empty: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Segments `[B, G, 2]` and labels `[B, G]`, padded with label -1."""
    inputs = reference.sidecar["inputs"]
    per_sample = [([], []) if empty else pair for pair in zip(inputs["gt_segments"], inputs["gt_labels"], strict=True)]
    most = max(1, *(len(labels) for _, labels in per_sample))
    segments = np.zeros((len(per_sample), most, 2), np.float32)
    padded = np.full((len(per_sample), most), -1)
    for i, (some, labels) in enumerate(per_sample):
        segments[i, : len(labels)] = np.reshape(some, (-1, 2))
        padded[i, : len(labels)] = labels
    return segments, padded


def test_points_and_targets_match_exactly(reference: Reference, outputs: tuple[Predictions, dict[str, Any]]) -> None:
    mask = np.concatenate(outputs[0].masks, 1)
    points = make_points(reference.config, outputs[0].masks[0].shape[1])
    np.testing.assert_array_equal(np.stack(points, 1), reference.arrays["points"])
    targets = assign(reference, points, mask, *ground_truth(reference))
    np.testing.assert_array_equal(targets.classes, reference.arrays["gt_cls"])
    np.testing.assert_array_equal(targets.distances, reference.arrays["gt_reg"])
    np.testing.assert_array_equal(targets.positive, reference.arrays["pos_mask"])


def assign(reference: Reference, points: Points, mask: Any, segments: np.ndarray, labels: np.ndarray) -> Any:
    similar_only = reference.head.get("filter_similar_gt", True)
    return assign_targets(points, mask, segments, labels, reference.config.classes, all_candidates=not similar_only)


def test_losses_and_normalizer_match(reference: Reference, outputs: tuple[Predictions, dict[str, Any]]) -> None:
    logits, distances, mask = flatten_levels(outputs[0])
    points = make_points(reference.config, outputs[0].masks[0].shape[1])
    weight = reference.head.get("loss_weight", 1.0)
    assert weight > 0
    arrays = reference.arrays
    normalizer = jnp.float32(reference.head["loss_normalizer"])
    sequence = [normalizer]
    for call in ("train", "train2", "eval", "trainempty"):
        targets = assign(reference, points, mask, *ground_truth(reference, empty=call == "trainempty"))
        sums = loss_sums(points, mask, logits, distances, targets, reference.head.get("label_smoothing", 0.0))
        if call == "eval":
            divisor = jnp.maximum(targets.positive.sum(), 1)
        else:
            normalizer = divisor = update_normalizer(normalizer, targets.positive.sum(), release_gpus=1)
            sequence.append(normalizer)
        classification, regression = sums.classification / divisor, weight * sums.regression / divisor
        for name, value in (("cls", classification), ("reg", regression)):
            np.testing.assert_allclose(value, arrays[f"{call}_{name}_loss"], rtol=0, atol=LOSSES, err_msg=call)
        np.testing.assert_allclose(classification + regression, arrays[f"{call}_cost"], rtol=0, atol=LOSSES)
    np.testing.assert_allclose(sequence, arrays["loss_normalizer_seq"], rtol=0, atol=LOSSES)


def check_proposals(reference: Reference, predictions: Predictions, prefix: str = "") -> None:
    proposals = jax.tree.map(np.asarray, decode(reference.config, predictions))
    arrays = reference.arrays
    np.testing.assert_array_equal(proposals.mask.sum(1), arrays[f"{prefix}num_valid"])
    valid = proposals.mask
    np.testing.assert_allclose(proposals.segments[valid], arrays[f"{prefix}proposals"], rtol=0, atol=PROPOSALS)
    np.testing.assert_allclose(proposals.scores[valid], arrays[f"{prefix}scores"], rtol=0, atol=SCORES)


def test_proposals_match(reference: Reference, outputs: tuple[Predictions, dict[str, Any]]) -> None:
    check_proposals(reference, outputs[0])


def test_other_lengths_match(reference: Reference) -> None:
    """Shorter and longer inputs than the training window are padded as the release does."""
    others = reference.sidecar["inputs"].get("other_lengths", {})
    for name, given in others.items():
        predictions, _ = reference.run(*reference.features(given, "input"))
        assert predictions.masks[0].shape[1] == given["padded_to"]
        check_proposals(reference, predictions, f"{name}_")
