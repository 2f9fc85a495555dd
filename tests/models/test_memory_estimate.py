"""The estimate of memory, against what XLA lays out, and against counts by hand."""

import dataclasses
import functools
from typing import Any

import jax
import pytest

from adatad_jax.config.build import make_detector, make_loss, make_model, make_vit
from adatad_jax.config.fields import Config
from adatad_jax.data.loader import training_batch
from adatad_jax.devices.memory import Need, memory_needed
from adatad_jax.inference.predictor import map_prediction
from adatad_jax.models.memory_estimate import Work, estimate
from adatad_jax.models.policy import MemoryPolicy
from adatad_jax.training.detection_loss import make_detection_loss
from adatad_jax.training.optimizer import make_optimizer, make_optimizer_config
from adatad_jax.training.parameters import detector_groups, split, with_frozen_in
from adatad_jax.training.state import create_state
from adatad_jax.training.step import make_train_step, map_step
from adatad_jax.weights.initialize import parameter_shapes

pytestmark = pytest.mark.usefixtures("fully_compiled")

MIB, CLASSES = 2**20, 2
SMALL_DETECTOR = {
    "model.width": 16,
    "model.heads": 2,
    "model.embed": 1,
    "model.stem": 0,
    "model.branch": 0,
    "model.head_convs": 0,
    "model.regression_ranges": ((0, 10000),),
    "model.dtype": "float32",
}


def small(size: str, frames: int, **fields: Any) -> Config:
    """A detector of which the backbone is all that counts."""
    fields = {f"model.{name}": value for name, value in fields.items()}
    return Config().with_fields({"model.size": size, "data.window": frames, **SMALL_DETECTOR, **fields})


def work_of(config: Config, training: bool) -> Work:
    return Work(
        make_vit(config.model),
        make_detector(config, CLASSES),
        1,
        config.data.window,
        config.data.crop,
        config.model.dtype,
        config.model.frozen_dtype,
        is_training=training,
        is_full=config.model.adaptation == "full",
    )


def compiled(config: Config, policy: MemoryPolicy, training: bool) -> Need:
    """What XLA lays out for a step, or a prediction, of one window."""
    model = make_model(config, CLASSES, policy)
    settings = make_optimizer_config(config, 100)
    shapes = parameter_shapes(model, config)
    params = jax.eval_shape(
        lambda tree: with_frozen_in(tree, config.model.frozen_dtype, detector_groups(settings.full)), shapes
    )
    batch = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape), leaf.dtype), training_batch([None], config, 8)
    )
    device = jax.local_devices()[:1]
    if training:
        optimizer = make_optimizer(settings)
        loss = make_detection_loss(model, make_loss(config.train))
        create = functools.partial(create_state, optimizer=optimizer, normalizer=1.0, seed=0)
        state = jax.eval_shape(create, *split(params, detector_groups(settings.full)))
        lowered = map_step(make_train_step(loss, optimizer, 0.9), device).lower(state, batch)  # type: ignore[attr-defined]
    else:
        lowered = map_prediction(model, device).lower(params, batch.frames, batch.mask)  # type: ignore[attr-defined]
    need = memory_needed(lowered.compile())
    assert need is not None
    return need


SLOW = pytest.mark.slow
IN_FOURS = {"attention_chunks": 4, "mlp_chunks": 4}


@pytest.mark.parametrize(
    ("config", "policy", "training"),
    [
        (small("S", 256), MemoryPolicy(**IN_FOURS), False),
        pytest.param(small("S", 64), MemoryPolicy(remat=True, attention_chunks=1, mlp_chunks=1), True, marks=SLOW),
        pytest.param(small("tiny", 256), MemoryPolicy(remat=False), True, marks=SLOW),
        pytest.param(small("tiny", 256), MemoryPolicy(remat=True, **IN_FOURS), True, marks=SLOW),
        pytest.param(small("S", 256), MemoryPolicy(), False, marks=SLOW),
        pytest.param(small("S", 256), MemoryPolicy(remat=True), True, marks=SLOW),
        pytest.param(small("S", 256), MemoryPolicy(remat=True, **IN_FOURS), True, marks=SLOW),
        pytest.param(small("S", 256), MemoryPolicy(remat=False, **IN_FOURS), True, marks=SLOW),
        pytest.param(small("S", 64), MemoryPolicy(remat=False), True, marks=SLOW),
        pytest.param(small("B", 256), MemoryPolicy(remat=True, **IN_FOURS), True, marks=SLOW),
        pytest.param(small("S", 256, adaptation="side"), MemoryPolicy(remat=True, **IN_FOURS), True, marks=SLOW),
        pytest.param(small("S", 256, adaptation="frozen"), MemoryPolicy(**IN_FOURS), True, marks=SLOW),
        pytest.param(small("S", 256, adaptation="full"), MemoryPolicy(remat=True, **IN_FOURS), True, marks=SLOW),
        pytest.param(small("S", 256, frozen_dtype="bfloat16"), MemoryPolicy(remat=True, **IN_FOURS), True, marks=SLOW),
    ],
)
def test_the_estimate_is_within_a_quarter_of_what_is_laid_out(
    config: Config, policy: MemoryPolicy, training: bool
) -> None:
    need, found = compiled(config, policy, training), estimate(work_of(config, training), policy)
    assert found.arguments == pytest.approx(need.arguments, rel=0.01)
    assert found.total == pytest.approx(need.total, rel=0.25)
    temporaries = found.total - found.arguments
    assert temporaries == pytest.approx(need.temporaries, rel=0.3), f"{temporaries / MIB:.0f} MiB"


def test_what_is_kept_follows_from_the_shapes() -> None:
    """Of 11 blocks the input, [2*48 chunks, 800 tokens, 384 channels] float32; the first learns nothing before it."""
    config = Config()
    work = dataclasses.replace(work_of(config, True), windows=2)
    policy = MemoryPolicy(remat=True, attention_chunks=4, mlp_chunks=4)
    stream = 2 * 48 * 800 * 384 * 4
    assert estimate(work, policy).kept == 11 * stream
    assert estimate(work, dataclasses.replace(policy, stream_dtype="bfloat16")).kept == 11 * stream // 2
    partly = dataclasses.replace(work, vit=dataclasses.replace(work.vit, tia_blocks=(8, 11)))
    assert estimate(partly, policy).kept == 3 * stream  # blocks 9, 10 and 11 come after an adapter
    frozen = dataclasses.replace(work, vit=dataclasses.replace(work.vit, tia_blocks=(), tia_hidden=0))
    assert estimate(frozen, policy).kept == 0


def test_frozen_kernels_in_bfloat16_take_half() -> None:
    """A block of S has 12*384^2 numbers in its matrices, and the embedding 2*16*16*3*384."""
    work = work_of(Config(), training=False)
    less = work.frozen - dataclasses.replace(work, frozen_dtype="bfloat16").frozen
    assert less == 2 * (12 * 12 * 384**2 + 2 * 16 * 16 * 3 * 384)


def test_less_is_kept_and_at_work_in_smaller_groups() -> None:
    work = work_of(Config(), training=True)
    totals = [estimate(work, MemoryPolicy(remat=True, attention_chunks=chunks)).total for chunks in (0, 16, 4, 1)]
    assert totals == sorted(totals, reverse=True)
    assert estimate(work, MemoryPolicy(remat=False)).total > totals[0]
