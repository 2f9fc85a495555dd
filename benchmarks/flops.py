"""Floating-point operations of a training step, as XLA counts them in the compiled program.

`python benchmarks/flops.py`: VideoMAE-S with TIA in all blocks, 64 frames at 160 px, batch 1, float32. Layers are
unrolled and nothing is rematerialised, because XLA counts the body of a loop once, and recomputation twice. The program
as it is trained has loops: there, the operations of matrix products alone are counted, with the steps of the loops; the
logits of attention, which its backward pass computes again, are counted apart. The numbers
show that no gradient of a frozen weight is computed: with these gradients the backbone would need 584.1 GFLOP, without
them 424.6 GFLOP.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adatad_jax.config.build import make_detector, make_loss
from adatad_jax.config.fields import Config
from adatad_jax.data.batch import Batch
from adatad_jax.devices.mapping import AXIS
from adatad_jax.devices.placing import shard
from adatad_jax.models.adatad import ActionFormer, AdaTAD
from adatad_jax.models.backbone import Backbone
from adatad_jax.models.sizes import CHUNK_FRAMES, CHUNK_TUBELETS, SIZES
from adatad_jax.training.detection_loss import make_detection_loss
from adatad_jax.training.optimizer import OptimizerConfig, make_optimizer
from adatad_jax.training.parameters import merge, split
from adatad_jax.training.state import create_state
from adatad_jax.training.step import make_train_step
from benchmarks.loops import product_flops

FRAMES, SIDE, SEGMENTS = 64, 160, 8
REFERENCE = 424.6  # GFLOP of the backbone's forward pass and the adapters' gradients, measured beforehand
ALLOWED = 1.02

VIT = dataclasses.replace(SIZES["S"], tia_blocks=tuple(range(12)), tia_hidden=96, drop_path=0.1)
DETECTOR = make_detector(Config().with_fields({"data.window": FRAMES}), classes=20)
LOSS = make_loss(Config().train)


def gflop(function: Callable[..., Any], *arguments: Any) -> float:
    """Counts the GFLOP of a compiled function, according to XLA."""
    analysis: Any = jax.jit(function).lower(*arguments).compile().cost_analysis()
    return float(analysis["flops"]) / 1e9


def main() -> None:
    """Prints the counts, and whether they exceed the expected counts by at most 2%."""
    model = AdaTAD(VIT, DETECTOR, unroll=True)
    backbone, in_loops = Backbone(VIT, unroll=True), Backbone(VIT)
    frames = np.zeros((1, FRAMES, SIDE, SIDE, 3), np.uint8)
    mask = np.ones((1, FRAMES), bool)
    ids = np.arange(1, dtype=np.int32)
    params = jax.device_get(jax.jit(model.init)(jax.random.key(0), frames, mask)["params"])
    trainable, frozen = split(params)

    def features(tree: Any, backbone: Backbone = backbone) -> jax.Array:
        rngs = {"dropout": jax.random.key(0)}
        values: Any = backbone.apply({"params": tree["backbone"]}, frames, ids, rngs=rngs)
        total: jax.Array = values.sum()
        return total

    def adapters(trainable: Any, frozen: Any) -> Any:
        return jax.value_and_grad(lambda t: features(merge(t, frozen)))(trainable)

    def as_trained(trainable: Any, frozen: Any) -> Any:
        return jax.value_and_grad(lambda t: features(merge(t, frozen), in_loops))(trainable)

    detector = ActionFormer(DETECTOR)
    optimizer = make_optimizer(OptimizerConfig(2e-4, 1e-4, 0.05, 1.0, 2, 100, 100, backbone_rate=0.0))
    state = create_state(trainable, frozen, optimizer, LOSS.normalizer_start, seed=0)
    step = make_train_step(make_detection_loss(model, LOSS), optimizer, average_decay=0.999)
    batch = shard(
        Batch(
            frames,
            mask,
            np.zeros((1, SEGMENTS, 2), np.float32),
            np.zeros((1, SEGMENTS), np.int32),
            ids,
            np.ones(1, np.float32),
        ),
        1,
    )
    # One device's step; an axis of size 1 stands for the devices.
    mapped = jax.vmap(step, in_axes=(None, 0), out_axes=(None, 0), axis_name=AXIS)

    counts = {
        "backbone, forward": gflop(features, params),
        "backbone, forward and gradients of TIA": gflop(adapters, trainable, frozen),
        "backbone, forward and gradients of everything": gflop(jax.value_and_grad(features), params),
        "detector, forward": gflop(
            lambda p, x: detector.apply({"params": p}, x, mask),
            params["detector"],
            jnp.zeros((1, FRAMES, VIT.width)),
        ),
        "train step": gflop(mapped, state, batch),
    }
    # The logits of 11 blocks; block 0 has no backward pass.
    side = SIDE // VIT.patch
    tokens, chunks = CHUNK_TUBELETS * side**2, FRAMES // CHUNK_FRAMES
    again = 2 * tokens**2 * VIT.width * chunks * (VIT.depth - 1) / 1e9
    program = jax.jit(as_trained).lower(trainable, frozen).compile().as_text() or ""
    counts["backbone as trained, products"] = product_flops(program) / 1e9 - again
    counts["logits computed again"] = again
    for name, count in counts.items():
        print(f"{name:48s} {count:8.1f} GFLOP")
    limits = {
        "backbone, forward and gradients of TIA": REFERENCE,
        "backbone as trained, products": REFERENCE,
        "train step": REFERENCE + 3 * counts["detector, forward"],
    }
    for name, limit in limits.items():
        ratio = counts[name] / limit
        print(f"{name}: {ratio:.3f} of {limit:.1f} GFLOP: {'ok' if ratio <= ALLOWED else 'TOO MUCH'}")


if __name__ == "__main__":
    main()
