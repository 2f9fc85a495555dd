"""The part `flops`: operations of the compiled programs as they are trained, loops counted as often as they run."""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from adatad_jax.models.adatad import ActionFormer
from adatad_jax.models.backbone import Backbone
from adatad_jax.models.sizes import CHUNK_FRAMES, CHUNK_TUBELETS
from adatad_jax.training.parameters import merge
from benchmarks.run import ours
from benchmarks.run.cases import SHORT, Case
from benchmarks.run.context import Context
from benchmarks.run.operations import count_operations
from benchmarks.run.rows import FLOPS, Row

REFERENCE = 424.6  # GFLOP, measured beforehand: the backbone's forward pass and the adapters' gradients
SECONDS = 12.0  # of one program, about
PROGRAMS = 6
REFERENCE_SETTING = "backbone, train step, not recomputed"


class Counted(NamedTuple):
    """A program whose operations are counted: its name in the rows, whether it is the backbone's step, and it."""

    setting: str
    is_reference: bool
    count: Any


def measure(context: Context) -> Iterator[Row]:
    """Counts the programs of VideoMAE-S at 64 frames, batch 1, float32, as the CPU backend compiles them."""
    case, device = Case("S", SHORT, 1, "float32"), jax.devices("cpu")[0]
    all_at_once: dict[str, Any] = {"attention_chunks": 0, "mlp_chunks": 0}
    kept = ours.plan_case(case, device, remat=False, **all_at_once)
    recomputed = ours.plan_case(case, device, remat=True, **all_at_once)
    programs = [
        Counted("backbone, forward", False, functools.partial(backbone_operations, kept, False)),
        Counted(REFERENCE_SETTING, True, functools.partial(backbone_operations, kept, True)),
        Counted("backbone, train step, recomputed", False, functools.partial(backbone_operations, recomputed, True)),
        Counted("detector, forward", False, functools.partial(detector_operations, kept)),
        Counted("train step, not recomputed", False, lambda: count_operations(ours.compile_step(kept).call)),
        Counted("train step, recomputed", False, lambda: count_operations(ours.compile_step(recomputed).call)),
    ]
    for program in programs[:2] if context.quick else programs:
        with context.advance.piece(f"flops: {program.setting}", SECONDS):
            found = program.count() / 1e9
        remark = ""
        if program.is_reference:
            again = logits_again(kept) / 1e9
            remark = (
                f"{found / REFERENCE:.3f} of the reference's {REFERENCE} GFLOP; {(found - again) / REFERENCE:.3f} "
                f"without the {again:.1f} GFLOP of logits that the backward pass of attention computes again"
            )
        yield Row(FLOPS, "S", SHORT, 1, case.dtype, program.setting, "GFLOP", found, remark=remark)


def logits_again(shapes: ours.Shapes) -> float:
    """Returns the operations of the logits that attention's backward pass computes again, in all blocks but block 0."""
    vit, (batch, frames, height, width, _) = shapes.plan.model.vit, shapes.batch.frames.shape[-5:]
    tokens = CHUNK_TUBELETS * (height // vit.patch) * (width // vit.patch)
    found: float = 2 * tokens**2 * vit.width * batch * frames / CHUNK_FRAMES * (vit.depth - 1)
    return found


def backbone_operations(shapes: ours.Shapes, gradients: bool) -> float:
    """Counts the backbone's forward pass or, with it, the gradients of its adapters, with stochastic depth as trained.

    Args:
      shapes: the plan, whose model's settings are taken, and shapes.
      gradients: whether the adapters' gradients are computed too.
    """
    model = shapes.plan.model
    backbone = Backbone(model.vit, model.dtype, model.policy)
    trained, frozen = ({"backbone": part["backbone"]} for part in (shapes.state.trained, shapes.state.frozen))

    def features(trained: Any, frozen: Any, frames: Any, ids: Any) -> jax.Array:
        variables = {"params": merge(trained, frozen)["backbone"]}
        found: Any = backbone.apply(variables, frames, ids, rngs={"dropout": jax.random.key(0)})
        # No gradient is a constant, which XLA would fold.
        weights = jnp.asarray(np.random.default_rng(0).standard_normal(found.shape, np.float32))
        return jnp.sum(found * weights)

    function: Any = jax.value_and_grad(features) if gradients else features
    arguments = trained, frozen, shapes.batch.frames, shapes.batch.sample_ids
    return count_operations(jax.jit(function).lower(*arguments).compile())


def detector_operations(shapes: ours.Shapes) -> float:
    """Counts the detector's forward pass on features."""
    detector = ActionFormer(shapes.plan.model.detector_config)
    params = merge(shapes.state.trained, shapes.state.frozen)["detector"]
    features = jax.ShapeDtypeStruct((1, SHORT, shapes.plan.model.vit.width), jnp.float32)
    function = jax.jit(lambda params, features, mask: detector.apply({"params": params}, features, mask))
    return count_operations(function.lower(params, features, shapes.batch.mask).compile())
