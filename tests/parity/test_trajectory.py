"""Six training steps against the PyTorch release, and the learning rates alone."""

import dataclasses
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import numpy as np
import pytest

from adatad_jax.conversion.layout import backbone_leaves, detector_leaves
from adatad_jax.data.batch import Batch
from adatad_jax.devices.placing import replicate, shard
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.training.detection_loss import make_detection_loss
from adatad_jax.training.optimizer import AdamState, OptimizerConfig, make_optimizer
from adatad_jax.training.parameters import decays, label, split
from adatad_jax.training.schedule import warmup_cosine
from adatad_jax.training.state import create_state
from adatad_jax.training.step import make_train_step, map_step
from tests import records
from tests.golden import synth
from tests.parity.goldens import load, reference_files
from tests.parity.reference_models import (
    detector_config,
    detector_params,
    synthetic_state,
    to_frames,
    vit_config,
    vit_params,
)

PREFIX = "backbone.model.backbone."


@pytest.mark.parametrize("path", reference_files("lr_schedule"), ids=lambda p: p.stem)
def test_rates_match(path: Path) -> None:
    sidecar, arrays = load(path)
    steps, per_epoch = len(arrays["lrs_f64"]), sidecar["iters_per_epoch"]
    for column, base in enumerate(sidecar["base_lrs"]):
        rates = warmup_cosine(base, sidecar["warmup_epoch"] * per_epoch, sidecar["max_epoch"] * per_epoch, steps)
        np.testing.assert_allclose(rates, arrays["lrs_f64"][:, column], rtol=1e-12, atol=0)


def adam_means(opt_state: Any) -> Any:
    """Adam's running means of all groups as one tree."""
    is_adam = lambda node: isinstance(node, AdamState)  # noqa: E731
    states = [node for node in jax.tree.leaves(opt_state, is_leaf=is_adam) if is_adam(node)]
    merged: dict[tuple[str, ...], Any] = {}
    for state in states:
        flat = flax.traverse_util.flatten_dict(state.mean)
        merged |= {path: value for path, value in flat.items() if isinstance(value, np.ndarray)}
    return flax.traverse_util.unflatten_dict(merged)


class Trajectory:
    """The run of one reference file, made by our training step on as many devices as asked."""

    def __init__(self, path: Path) -> None:
        self.sidecar, self.arrays = load(path)
        upstream, optimizer = self.sidecar["upstream_cfg"], self.sidecar["optimizer"]
        schedule = self.sidecar["scheduler"]
        state = synthetic_state(self.sidecar)
        vit = vit_config(upstream["backbone"]["backbone"], state, PREFIX)
        # The reference ran with stochastic depth off.
        detector = dataclasses.replace(detector_config(upstream), drop_path=0.0)
        self.initial = {
            "backbone": vit_params(vit, state, PREFIX),
            "detector": detector_params(detector, state, vit.width),
        }
        # Our path -> (leaf, prefix of its torch names), to turn our leaves back into named tensors.
        self.leaves = {("backbone", *leaf.path): (leaf, PREFIX) for leaf in backbone_leaves(vit)}
        self.leaves |= {("detector", *leaf.path): (leaf, "") for leaf in detector_leaves(detector)}
        self.config = OptimizerConfig(
            tia_rate=optimizer["backbone"]["custom"][0]["lr"],
            head_rate=optimizer["lr"],
            weight_decay=optimizer["weight_decay"],
            clip_norm=self.sidecar["clip_grad_norm"],
            warmup_steps=schedule["warmup_epoch"] * schedule["dataloader_len"],
            schedule_steps=schedule["max_epoch"] * schedule["dataloader_len"],
            steps=self.sidecar["steps"] + 1,
            backbone_rate=0.0,
        )
        head = upstream["rpn_head"]
        loss = records.loss_config(
            regression_weight=head.get("loss_weight", 1.0),
            label_smoothing=head.get("label_smoothing", 0.0),
            all_candidates=not head.get("filter_similar_gt", True),
            normalizer_start=head["loss_normalizer"],
        )
        transformation = make_optimizer(self.config)
        detection_loss = make_detection_loss(AdaTAD(vit, detector), loss)
        step = make_train_step(detection_loss, transformation, self.sidecar["ema_decay"])
        devices = jax.devices()[:1]
        step = map_step(step, devices)
        state = create_state(*split(self.initial), transformation, loss.normalizer_start, seed=0)
        state = replicate(state, devices)
        self.metrics = []
        for number in range(self.sidecar["steps"]):
            state, metrics = step(state, shard(self.batch(number), 1))
            self.metrics.append(jax.tree.map(lambda x: np.asarray(x)[0], metrics))
            if number == 0:
                first_opt_state = jax.device_get(state.optimizer)
        self.state = jax.device_get(state)
        # Adam's mean after one step is (1 - beta1) times the clipped gradient.
        norm = self.metrics[0]["grad_norm"]
        clip = min(1, self.config.clip_norm / (norm + 1e-6))
        self.first_gradient = {
            key: value / (0.1 * clip) for key, value in self.named(adam_means(first_opt_state)).items()
        }
        self.initial_tensors = self.named(split(self.initial)[0])

    def batch(self, number: int) -> Batch:
        given, sizes = self.sidecar["inputs"]["gt"][number], self.sidecar["config"]
        batch, frames = sizes["B"], sizes["total_frames"]
        pixels = synth.frames(self.sidecar["seed"], f"trajectory/frames{number}", (batch, 1, 3, frames, *sizes["hw"]))
        # As many rows in every step: another number would compile the step anew.
        most = max(1, *(len(labels) for step in self.sidecar["inputs"]["gt"] for labels in step["labels"]))
        segments = np.zeros((batch, most, 2), np.float32)
        labels = np.full((batch, most), -1, np.int32)
        for i, (some, classes) in enumerate(zip(given["segments"], given["labels"], strict=True)):
            segments[i, : len(classes)] = np.reshape(some, (-1, 2))
            labels[i, : len(classes)] = classes
        mask = self.arrays[f"masks{number}"]
        return Batch(
            to_frames(pixels), mask, segments, labels, np.arange(batch, dtype=np.int32), np.ones(batch, np.float32)
        )

    def rows(self) -> list[tuple[int, str]]:
        """Rows of the reference's tables whose gradient is not mathematically zero."""
        skip = set(self.sidecar["fp32_vs_fp64"]["rows_with_mathematically_zero_gradient"])
        return [(i, name) for i, name in enumerate(self.sidecar["row_names"]) if name not in skip]

    def check_rows(self, kind: str, found: dict[str, np.ndarray], whole: str, tolerance: float) -> None:
        """Every row of the table `kind` against our tensors, relative; whole tensors where the reference has them.

        `whole` names the arrays of whole tensors, from which the initial value is taken off if `kind` is a delta.
        """
        for i, name in self.rows():
            _, _, norm, largest = self.arrays[f"{kind}_stats"][i]
            got = found[name].astype(np.float64)
            if norm == 0:
                assert not got.any(), f"{kind} {name}: expected exactly 0"
                continue
            if (array := f"{whole}/{name}") in self.arrays:
                expected = self.arrays[array].astype(np.float64)
                if kind == "final_delta":
                    expected = expected - self.initial_tensors[name]
                assert got.shape == expected.shape
                assert np.linalg.norm(got - expected) <= tolerance * np.linalg.norm(expected), f"{kind} {name}"
                continue
            assert abs(np.linalg.norm(got) - norm) <= tolerance * norm, f"{kind} {name}: norm"
            first = self.arrays[f"{kind}_first8"][i]
            first = first[~np.isnan(first)]
            assert np.abs(got.ravel()[: len(first)] - first).max() <= tolerance * largest, f"{kind} {name}: first 8"

    def named(self, tree: Any) -> dict[str, np.ndarray]:
        """A tree of our parameters as torch tensors by name."""
        tensors = {}
        for path, value in flax.traverse_util.flatten_dict(tree).items():
            if not isinstance(value, np.ndarray | jax.Array):
                continue
            leaf, prefix = self.leaves[path]
            for key, one in zip(leaf.keys, value if leaf.stacked else [value], strict=True):
                turned = np.asarray(one).transpose(np.argsort(leaf.axes))
                tensors[prefix + key] = np.expand_dims(turned, leaf.squeeze) if leaf.squeeze else turned
        return tensors


@pytest.fixture(scope="module", params=reference_files("trajectory"), ids=lambda p: p.stem)
def run(request: pytest.FixtureRequest) -> Trajectory:
    return Trajectory(request.param)


def test_losses_norm_and_normalizer_match(run: Trajectory) -> None:
    for field, name in (("classification", "cls_loss"), ("regression", "reg_loss"), ("loss", "cost")):
        got = [m[field] for m in run.metrics]
        np.testing.assert_allclose(got, run.arrays[name], rtol=0, atol=1e-5, err_msg=name)
    np.testing.assert_allclose([m["grad_norm"] for m in run.metrics], run.arrays["grad_norm"], rtol=1e-5, atol=0)
    normalizers = [m["normalizer"] for m in run.metrics]
    np.testing.assert_allclose(normalizers, run.arrays["loss_normalizer"], rtol=0, atol=1e-5)


def test_rates_of_the_groups_match(run: Trajectory) -> None:
    rates = run.arrays["lrs_f64"]
    for column, group in enumerate(run.sidecar["groups"]):
        config = run.config
        ours = warmup_cosine(group["lr"], config.warmup_steps, config.schedule_steps, len(rates))
        np.testing.assert_allclose(ours, rates[:, column], rtol=1e-12, atol=0)


def test_every_tensor_is_in_its_group(run: Trajectory) -> None:
    """Same trainable tensors, rates and decays as the release's optimiser; the rest is frozen."""
    ours = {}
    for path, (leaf, prefix) in run.leaves.items():
        group = label(path)
        rate = {"frozen": 0.0, "tia": run.config.tia_rate, "head": run.config.head_rate}[group]
        decay = run.config.weight_decay if decays(path) else 0.0
        ours |= {prefix + key: (group != "frozen", rate, decay) for key in leaf.keys}
    for group in run.sidecar["groups"]:
        for name in group["names"]:
            assert ours.pop(name) == (True, group["lr"], group["weight_decay"])
    assert not any(trainable for trainable, _, _ in ours.values())


def test_first_gradient_matches(run: Trajectory) -> None:
    run.check_rows("grad0", run.first_gradient, "grad0", 1e-4)


def test_parameters_move_as_in_the_release(run: Trajectory) -> None:
    final = run.named(run.state.trained)
    moved = {name: value.astype(np.float64) - run.initial_tensors[name] for name, value in final.items()}
    run.check_rows("final_delta", moved, "final", 3e-3)


def test_average_matches(run: Trajectory) -> None:
    ema = run.named(run.state.average)
    for i, name in run.rows():
        got = ema[name].ravel()
        first = run.arrays["ema_first8"][i]
        first = first[~np.isnan(first)]
        np.testing.assert_allclose(got[: len(first)], first, rtol=0, atol=1e-6, err_msg=name)
        if (array := f"ema/{name}") in run.arrays:
            np.testing.assert_allclose(ema[name], run.arrays[array], rtol=0, atol=1e-6, err_msg=name)


def test_frozen_parameters_are_bit_identical(run: Trajectory) -> None:
    before, after = split(run.initial)[1], run.state.frozen
    jax.tree.map(np.testing.assert_array_equal, before, after)
