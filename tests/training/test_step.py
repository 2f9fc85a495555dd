"""The training step: several devices, frozen parameters, averaging, filled-up batches, checkpoints."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from adatad_jax.data.batch import Batch
from adatad_jax.data.loader import device_parts
from adatad_jax.devices.choice import Sharing
from adatad_jax.devices.mapping import AXIS
from adatad_jax.devices.placing import place, replicate, shard
from adatad_jax.errors import UserError
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.models.policy import MemoryPolicy
from adatad_jax.models.sizes import ViTConfig
from adatad_jax.training import checkpoints, choosing
from adatad_jax.training.detection_loss import make_detection_loss
from adatad_jax.training.optimizer import make_optimizer
from adatad_jax.training.parameters import detector_groups, merge, split
from adatad_jax.training.state import TrainState, create_state
from adatad_jax.training.step import Metrics, Normalized, make_train_step, map_step
from tests import records

# Stochastic depth is high, so that draws that depended on the device would show.
VIT = ViTConfig(
    width=16, depth=2, heads=2, mlp_hidden=32, image_size=32, tia_blocks=(0, 1), tia_hidden=4, drop_path=0.3
)
DETECTOR = records.detector_config(
    3,
    width=16,
    heads=2,
    stem=1,
    branch=1,
    windows=(None,) * 2,
    max_length=32,
    regression_ranges=((0, 8), (8, 10000)),
    drop_path=0.3,
    dropout=0.2,
    input_dropout=0.2,
)
MODEL = AdaTAD(VIT, DETECTOR)
OPTIMIZER = records.optimizer_config()
EMA = 0.9


def batch(seed: int) -> Batch:
    rng = np.random.default_rng(seed)
    starts = rng.uniform(0, 20, (4, 2)).astype(np.float32)
    return Batch(
        frames=rng.integers(0, 256, (4, 32, 32, 32, 3), dtype=np.uint8),
        mask=np.arange(32) < rng.integers(20, 33, (4, 1)),
        segments=np.stack([starts, starts + rng.uniform(2, 12, (4, 2)).astype(np.float32)], -1),
        labels=np.array([[0, 1], [2, -1], [-1, -1], [1, 0]], np.int32),
        sample_ids=np.arange(4, dtype=np.int32),
        weight=np.ones(4, np.float32),
    )


@pytest.fixture(scope="module")
def params() -> dict:
    first = batch(0)
    return jax.device_get(jax.jit(MODEL.init)(jax.random.key(0), first.frames, first.mask)["params"])


def fresh_state(params: dict, seed: int) -> TrainState:
    return create_state(*split(params), make_optimizer(OPTIMIZER), 100.0, seed)


class Trainer:
    """Runs steps on devices that share a batch; a step is compiled once for each way of sharing it."""

    def __init__(self, params: dict) -> None:
        self.params = params
        self._optimizer = make_optimizer(OPTIMIZER)
        self._steps: dict[tuple[int, int, int], Any] = {}

    def run(
        self, batches: list[Batch], groups: int = 1, shares: int = 1, accumulate: int = 1
    ) -> tuple[TrainState, list[Metrics]]:
        """Returns the state after some batches and the metrics of each step, on the host."""
        sharing = Sharing(tuple(jax.devices()[: groups * shares]), groups, shares)
        way = (groups, shares, accumulate)
        if way not in self._steps:
            loss = make_detection_loss(MODEL, records.loss_config(release_gpus=2), shares)
            step = make_train_step(loss, self._optimizer, EMA, accumulate)
            self._steps[way] = map_step(step, sharing.devices)
        state = replicate(fresh_state(self.params, seed=3), sharing.devices)
        metrics = []
        for one in batches:
            state, found = self._steps[way](state, place(device_parts(one, sharing), sharing.devices))
            metrics.append(jax.tree.map(lambda x: np.asarray(x)[0], found))
        return jax.device_get(state), metrics


@pytest.fixture(scope="module")
def trainer(params: dict) -> Trainer:
    return Trainer(params)


@pytest.fixture(scope="module")
def one_device(trainer: Trainer) -> tuple[TrainState, list[Metrics]]:
    return trainer.run([batch(i) for i in range(3)])


# The windows of a batch among four devices; each window among two devices; that, and parts one after the other.
@pytest.mark.parametrize(
    ("groups", "shares", "accumulate"), [(4, 1, 1), pytest.param(2, 2, 1, marks=pytest.mark.slow), (1, 2, 4)]
)
def test_a_batch_gives_the_same_however_it_is_shared(
    trainer: Trainer, one_device: tuple[TrainState, list[Metrics]], groups: int, shares: int, accumulate: int
) -> None:
    state, metrics = trainer.run([batch(i) for i in range(3)], groups, shares, accumulate)
    for ours, alone in zip(metrics, one_device[1], strict=True):
        assert ours.keys() == alone.keys()
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), ours, alone)
        assert ours["positives"] == alone["positives"]
    # Sums have another order. An adapter's `down` has hardly any gradient while `up` is near zero: single elements of
    # 1e-9 among others of 1e-6 are partly rounding, and Adam makes steps of them like any other. So the change of a
    # tensor is compared as a whole, as with the release's trajectory, and more strictly. What is added to all keys has
    # no gradient but rounding, which moves it by 1e-7.
    start = split(trainer.params)[0]
    changes, expected = (jax.tree.map(np.subtract, one.trained, start) for one in (state, one_device[0]))
    for (path, change), other in zip(
        jax.tree_util.tree_leaves_with_path(changes), jax.tree.leaves(expected), strict=True
    ):
        limit = 1e-3 * np.linalg.norm(other) + 1e-6
        assert np.linalg.norm(change - other) <= limit, jax.tree_util.keystr(path)


@pytest.mark.slow
def test_a_window_that_one_device_has_no_frames_of_counts_for_nothing(trainer: Trainer) -> None:
    """Two processes can share a window that only one of them can read; the other has filled its row up."""
    first = batch(0)
    sharing = Sharing(tuple(jax.devices()[:4]), groups=2, shares=2)
    parts = device_parts(first, sharing)
    parts[3] = parts[3]._replace(weight=np.array([0, 1], np.float32))  # of rows 2 and 3
    trainer.run([first], 2, 2)
    state = replicate(fresh_state(trainer.params, seed=3), sharing.devices)
    _, found = trainer._steps[2, 2, 1](state, place(parts, sharing.devices))
    (_, (expected,)) = trainer.run([first._replace(weight=np.array([1, 1, 0, 1], np.float32))])
    for name, value in expected.items():
        np.testing.assert_allclose(np.asarray(found[name])[0], value, rtol=1e-5, err_msg=name)


class WeightedMean:
    """The loss of another task: the weighted mean of squared distances from a point."""

    def count(self, batch: Any) -> Any:
        return {"weight": batch["weight"].sum()}

    def normalize(self, counted: Any, normalizer: jax.Array) -> Normalized:
        return Normalized(counted["weight"], normalizer, counted)

    def of_rows(self, params: Any, batch: Any, divisor: jax.Array, key: jax.Array) -> tuple[jax.Array, Metrics]:
        squares = batch["weight"] * (batch["x"] - params["point"]) ** 2
        return squares.sum() / divisor, {"rows": jnp.float32(len(squares))}


def test_a_task_brings_its_own_loss() -> None:
    """Two devices with four rows each, in parts of two rows; expected values from the whole batch in NumPy."""
    rng = np.random.default_rng(0)
    x, weight, devices = rng.normal(size=8).astype(np.float32), rng.random(8, np.float32), jax.devices()[:2]
    optimizer = optax.sgd(0.5)
    step = map_step(make_train_step(WeightedMean(), optimizer, EMA, accumulate=2), devices)
    state = create_state({"point": np.float32(3)}, {}, optimizer, normalizer=7.0, seed=0)
    after, metrics = step(replicate(state, devices), shard({"x": x, "weight": weight}, 2))
    gradient = 2 * np.average(3 - x, weights=weight)
    np.testing.assert_allclose(after.trained["point"], 3 - 0.5 * gradient, rtol=1e-6)
    assert float(after.normalizer) == 7
    expected = {"loss": np.average((x - 3) ** 2, weights=weight), "weight": weight.sum(), "rows": 8}
    assert metrics.keys() == {*expected, "grad_norm"}
    for name, value in {**expected, "grad_norm": abs(gradient)}.items():
        np.testing.assert_allclose(metrics[name], [value, value], rtol=1e-6, err_msg=name)


def test_frozen_parameters_stay_bit_identical_and_the_rest_moves(
    params: dict, one_device: tuple[TrainState, list[Metrics]]
) -> None:
    after = one_device[0]
    jax.tree.map(np.testing.assert_array_equal, split(params)[1], after.frozen)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), split(params)[0], after.trained)
    still = [path for path, leaf in jax.tree_util.tree_leaves_with_path(moved) if not leaf]
    assert not still


def test_full_fine_tuning_moves_the_whole_backbone() -> None:
    small = dataclasses.replace(DETECTOR, embed=1, stem=0, head_convs=0)
    model = AdaTAD(dataclasses.replace(VIT, tia_blocks=(), tia_hidden=0), small)
    first = batch(0)
    params = jax.device_get(jax.jit(model.init)(jax.random.key(0), first.frames, first.mask)["params"])
    config = dataclasses.replace(OPTIMIZER, backbone_rate=1e-3)
    optimizer, devices = make_optimizer(config), jax.devices()[:1]
    step = map_step(make_train_step(make_detection_loss(model, records.loss_config()), optimizer, EMA), devices)
    trained, frozen = split(params, detector_groups(full=True))
    assert not frozen
    state = replicate(create_state(trained, frozen, optimizer, 100.0, seed=3), devices)
    for seed in range(2):  # the rate of the very first step is 0
        state, _ = step(state, shard(batch(seed), 1))
    for part in (state.trained, state.average):
        still = jax.tree.map(lambda a, b: bool((a == b).all()), params["backbone"], jax.device_get(part)["backbone"])
        assert not [path for path, leaf in jax.tree_util.tree_leaves_with_path(still) if leaf]


def test_average_follows_its_formula() -> None:
    """By hand, in numbers without rounding: 5 moves to 3 and 1; 0.75 * 5 + 0.25 * 3 = 4.5, then 3.625."""
    optimizer, devices = optax.sgd(0.5), jax.devices()[:1]
    step = map_step(make_train_step(WeightedMean(), optimizer, 0.75), devices)
    frozen = {"table": np.arange(3, dtype=np.float32)}
    state = replicate(create_state({"point": np.float32(5)}, frozen, optimizer, normalizer=1.0, seed=0), devices)
    for mean, point, average in ((3, 3, 4.5), (1, 1, 3.625)):  # the point moves by the gradient's half, to the mean
        rows = {"x": np.float32([mean - 1, mean + 1]), "weight": np.ones(2, np.float32)}
        state, _ = step(state, shard(rows, 1))
        assert (float(state.trained["point"]), float(state.average["point"])) == (point, average)
    averaged = jax.device_get(state).averaged()
    assert float(averaged["point"]) == 3.625
    np.testing.assert_array_equal(averaged["table"], frozen["table"])


def test_windows_that_fill_up_a_batch_count_for_nothing(trainer: Trainer) -> None:
    full = batch(0)
    weight = np.array([1, 1, 0, 0], np.float32)
    other = batch(1)
    filled = full._replace(weight=weight)
    changed = jax.tree.map(lambda a, b: np.concatenate([a[:2], b[2:]]), full, other)._replace(
        weight=weight, sample_ids=full.sample_ids
    )
    (first, metrics), (second, same) = trainer.run([filled]), trainer.run([changed])
    jax.tree.map(np.testing.assert_array_equal, metrics, same)
    jax.tree.map(np.testing.assert_array_equal, first.trained, second.trained)


def test_checkpoint_brings_the_state_back_bit_for_bit(
    params: dict, one_device: tuple[TrainState, list[Metrics]], tmp_path: Path
) -> None:
    state = one_device[0]
    with checkpoints.open_manager(tmp_path, keep=2) as manager:
        checkpoints.save(manager, 7, state, {"epoch": 3, "tally": {"loss": 0.1}})
    saved = choosing.read_chosen(tmp_path)
    back = checkpoints.restore_state(saved, state.frozen, fresh_state(params, seed=0), tmp_path)
    assert saved.metadata == {"epoch": 3, "tally": {"loss": 0.1}, "frozen": len(jax.tree.leaves(state.frozen))}
    assert saved.frozen is None
    assert jax.tree.structure(back) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, back, state)
    jax.tree.map(np.testing.assert_array_equal, merge(saved.average, state.frozen), state.averaged())


def test_checkpoint_of_another_size_is_refused(
    params: dict, one_device: tuple[TrainState, list[Metrics]], tmp_path: Path
) -> None:
    with checkpoints.open_manager(tmp_path, keep=1) as manager:
        checkpoints.save(manager, 1, one_device[0], {})
    model = AdaTAD(dataclasses.replace(VIT, tia_hidden=8), DETECTOR)
    first = batch(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0), first.frames, first.mask)["params"]
    wider = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    saved = choosing.read_chosen(tmp_path)
    with pytest.raises(
        UserError, match=r"step 1: (.|\n)*average/backbone/blocks_0_1/tia/up/kernel: .*\(2, 4, 16\).*\(2, 8, 16\)"
    ):
        checkpoints.restore_state(saved, {}, fresh_state(wider, seed=0), Path("step 1"))


def test_folder_without_a_checkpoint_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"^{re.escape(str(tmp_path))}: .*\bcheckpoints/"):
        choosing.read_chosen(tmp_path)


@pytest.mark.parametrize(("platform", "shares"), [("tpu", 1), ("tpu", 2), ("cuda", 1)])
def test_step_lowers_for_accelerators(params: dict, platform: str, shares: int) -> None:
    """Lowering does not need the devices; a mapped axis takes their place."""
    model = dataclasses.replace(MODEL, dtype=jnp.bfloat16, policy=MemoryPolicy(remat=True))
    loss = make_detection_loss(model, records.loss_config(), shares)
    step = make_train_step(loss, make_optimizer(OPTIMIZER), EMA, accumulate=shares)
    mapped = jax.vmap(step, in_axes=(None, 0), out_axes=(None, 0), axis_name=AXIS)
    state = fresh_state(params, seed=0)
    parts = device_parts(batch(0), Sharing(tuple(jax.devices()[:shares]), shares=shares))
    stacked = jax.tree.map(lambda *arrays: np.stack(arrays), *parts)
    lowered = jax.jit(mapped).trace(state, stacked).lower(lowering_platforms=(platform,))
    assert "stablehlo" in lowered.as_text()


@pytest.mark.slow
def test_half_precision_stays_near_float32(params: dict) -> None:
    first = batch(0)
    full = MODEL.apply({"params": params}, first.frames, first.mask)
    half = dataclasses.replace(MODEL, dtype=jnp.bfloat16).apply({"params": params}, first.frames, first.mask)
    for one, two in zip(full.logits, half.logits, strict=True):
        assert two.dtype == jnp.float32
        # bfloat16 keeps 8 bits: errors of 2^-9 per product, a few dozen products deep.
        np.testing.assert_allclose(one, two, rtol=0, atol=0.05 * float(np.abs(one).max()))
        assert (one != two).any()
