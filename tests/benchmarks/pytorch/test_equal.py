"""The detector in PyTorch that the benchmark runs against computes what ours does: features, loss, gradients, steps."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from adatad_jax.config.build import make_loss, make_model
from adatad_jax.config.fields import Config
from adatad_jax.conversion.detector import model_shapes
from adatad_jax.data.batch import Batch
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.models.layers import Params
from adatad_jax.training.detection_loss import make_detection_loss
from adatad_jax.training.optimizer import OptimizerConfig, make_optimizer
from adatad_jax.training.parameters import merge, split

torch = pytest.importorskip("torch", reason="torch is not installed")

from benchmarks.pytorch import training as theirs  # noqa: E402 - needs torch
from benchmarks.pytorch.weights import tensors  # noqa: E402

FRAMES, SIDE, CLASSES = 32, 32, 5
pytestmark = pytest.mark.usefixtures("fully_compiled")

CONFIG = Config().with_fields(
    {
        "data.window": FRAMES,
        "data.crop": SIDE,
        "model.size": "tiny",
        "model.dtype": "float32",
        "model.tia_blocks": "0,2",
        "model.backbone_drop_path": 0.0,
        "model.width": 32,
        "model.stem": 1,
        "model.branch": 1,
        "model.regression_ranges": ((0, 4), (4, 10000)),
        "model.drop_path": 0.0,
    }
)
WARMUP = 2  # steps: the rate of the first is 0, that of the second the highest
OPTIMIZER = OptimizerConfig(2e-4, 1e-4, 0.05, 1.0, WARMUP, 100, WARMUP, backbone_rate=0.0)


class Case(NamedTuple):
    """A batch for a detector, and what ours computes of it."""

    model: AdaTAD
    params: Params
    batch: Batch
    features: np.ndarray
    predictions: Any
    loss: np.ndarray
    gradients: Params


@pytest.fixture(scope="module")
def case() -> Case:
    model = make_model(CONFIG, CLASSES)
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (2, FRAMES, SIDE, SIDE, 3), np.uint8)
    mask = np.arange(FRAMES) < np.array([[FRAMES], [FRAMES - 9]])
    segments = np.array([[[2, 9], [10.5, 30], [0, 0]], [[1, 5], [3, 20], [3.2, 20.1]]], np.float32)
    labels = np.array([[0, 1, -1], [2, 3, 4]], np.int32)
    batch = Batch(frames, mask, segments, labels, np.arange(2, dtype=np.int32), np.ones(2, np.float32))
    # No leaf is zero or one, as fresh ones are: then an adapter would do nothing.
    flat = {path: rng.normal(0, 0.1, shape).astype(np.float32) for path, shape in model_shapes(model).items()}
    params: Params = {}
    for path, value in flat.items():
        node = params
        for name in path[:-1]:
            node = node.setdefault(name, {})
        node[path[-1]] = value + 1 if path[-1] in ("scale", "gamma") else value
    loss = make_detection_loss(model, make_loss(CONFIG.train))
    divisor = loss.normalize(loss.count(batch), jnp.float32(CONFIG.train.normalizer_start)).divisor

    @jax.jit
    def compute(trained: Params, frozen: Params) -> Any:
        def share(trained: Params) -> Any:
            return loss.of_rows(merge(trained, frozen), batch, divisor, jax.random.key(0))[0]

        variables = {"params": merge(trained, frozen)}
        features = model.apply(variables, frames, FRAMES, method="features")
        return features, model.apply(variables, frames, mask), *jax.value_and_grad(share)(trained)

    return Case(model, params, batch, *jax.device_get(compute(*split(params))))


def make_theirs(case: Case, recompute: bool) -> Any:
    model = theirs.AdaTAD(case.model.vit, case.model.detector_config, SIDE, recompute)
    model.load_state_dict(named(case, case.params))
    return model


def named(case: Case, tree: Params) -> dict[str, Any]:
    return tensors(tree, case.model.vit, case.model.detector_config)


def windows(batch: Batch) -> Any:
    return theirs.Windows(*(torch.from_numpy(np.asarray(array)) for array in batch[:4]))


def make_training(case: Case, recompute: bool) -> Any:
    loss = make_loss(CONFIG.train)
    return theirs.make_training(
        make_theirs(case, recompute), case.model.detector_config, loss, OPTIMIZER, CONFIG.train.ema, torch.float32
    )


def test_features_and_predictions(case: Case) -> None:
    other, batch = make_theirs(case, recompute=False), windows(case.batch)
    with torch.inference_mode():
        found = other.eval().features(batch.frames, FRAMES)
    np.testing.assert_allclose(found, case.features, rtol=0, atol=2e-6 * np.abs(case.features).max())
    predicted, ours = theirs.Inference(other, torch.float32, compile_it=False)(*batch[:2]), case.predictions
    np.testing.assert_array_equal(predicted.mask, np.concatenate(ours.masks, 1))
    for one, two in ((predicted.logits, ours.logits), (predicted.distances, ours.distances)):
        two = np.concatenate(two, 1)
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-5 * np.abs(two).max())


@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
def test_loss_and_gradients(case: Case, recompute: bool) -> None:
    training = make_training(case, recompute)
    found = training.loss(windows(case.batch))
    found.backward()
    np.testing.assert_allclose(found.item(), case.loss, rtol=1e-5)
    ours = named(case, case.gradients)
    trained = {name: p for name, p in training.model.named_parameters() if p.requires_grad}
    assert ours.keys() == trained.keys()
    for name, parameter in trained.items():
        apart, largest = (ours[name] - parameter.grad).abs().max(), ours[name].abs().max()
        assert apart <= 1e-4 * largest + 1e-9, f"{name}: {apart:.2e} of {largest:.2e}"
    assert all(p.grad is None for p in training.model.parameters() if not p.requires_grad)


def test_both_ways_to_embed_patches(case: Case) -> None:
    """A CPU takes one, a GPU the other; a remainder of the frames that is no whole patch is dropped."""
    embed = make_theirs(case, recompute=False).backbone.patch_embed
    frames = torch.randn(3, 16, 2 * embed.projection.kernel_size[1] + 5, 40, 3)
    with torch.inference_mode():
        torch.testing.assert_close(embed.as_product(frames), embed(frames), rtol=0, atol=1e-4)


def test_update(case: Case) -> None:
    optimizer, (trained, _) = make_optimizer(OPTIMIZER), split(case.params)
    training = make_training(case, recompute=False)
    ours = named(case, case.gradients)
    for name, parameter in training.model.named_parameters():
        parameter.grad = ours.get(name)
    rates = [group["lr"] for group in training.optimizer.param_groups]

    @jax.jit
    def update(trained: Params, state: Any) -> Any:
        change, state = optimizer.update(case.gradients, state, trained)
        return optax.apply_updates(trained, change), state

    after, state = trained, optimizer.init(trained)
    for step in range(WARMUP):
        for group, rate in zip(training.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate if step else 0.0
        training.update()
        after, state = update(after, state)
    expected, before = named(case, jax.device_get(after)), named(case, trained)
    found = {name: p.detach() for name, p in training.model.named_parameters() if p.requires_grad}
    moved = [name for name in found if (expected[name] - before[name]).abs().max() > 5e-5]
    assert len(moved) > 0.9 * len(found)  # the others, such as a key's bias, have hardly any gradient
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=2e-7 * float(before[name].abs().max() + 1))
    for average, name in zip(training.averages, found, strict=True):
        decayed = CONFIG.train.ema * before[name] + (1 - CONFIG.train.ema) * expected[name]
        torch.testing.assert_close(average, decayed, rtol=0, atol=1e-6)
