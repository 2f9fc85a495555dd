"""The loss of 20 steps on 1, 2, 4 and 8 devices, as JSON: `python -m tests.training.device_curves`.

A process of its own, because it has 8 virtual devices. The batch is of 2 windows with 4 chunks each.
"""

import dataclasses
import json
import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "0"  # compiled as users have it
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import numpy as np

from adatad_jax.augmentation.draws import draw_augmentation
from adatad_jax.data.batch import Batch
from adatad_jax.data.loader import device_parts
from adatad_jax.devices.choice import share_devices
from adatad_jax.devices.placing import first_value, place, replicate
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.models.policy import MemoryPolicy
from adatad_jax.models.sizes import CHUNK_FRAMES
from adatad_jax.training.detection_loss import make_detection_loss
from adatad_jax.training.optimizer import make_optimizer
from adatad_jax.training.parameters import split
from adatad_jax.training.state import create_state
from adatad_jax.training.step import make_train_step, map_step
from tests import records
from tests.training.test_step import DETECTOR, VIT

ROWS, FRAMES, SIDE, STEPS = 2, 64, 32, 20
MODEL = AdaTAD(VIT, dataclasses.replace(DETECTOR, max_length=FRAMES), policy=MemoryPolicy(remat=True))


def batch(seed: int) -> Batch:
    """Random frames and segments, and all that is drawn for the augmentation."""
    rng = np.random.default_rng(seed)
    starts = rng.uniform(0, 40, (ROWS, 2)).astype(np.float32)
    draws = [draw_augmentation(rng, SIDE, SIDE, rand_augment=True, color_jitter=True) for _ in range(ROWS)]
    return Batch(
        frames=rng.integers(0, 256, (ROWS, FRAMES, SIDE, SIDE, 3), dtype=np.uint8),
        mask=np.arange(FRAMES) < rng.integers(40, FRAMES + 1, (ROWS, 1)),
        segments=np.stack([starts, starts + rng.uniform(2, 20, (ROWS, 2)).astype(np.float32)], -1),
        labels=rng.integers(-1, 3, (ROWS, 2)).astype(np.int32),
        sample_ids=np.arange(ROWS, dtype=np.int32),
        weight=np.ones(ROWS, np.float32),
        augmentation=jax.tree.map(lambda *arrays: np.stack(arrays), *draws),
    )


def curve(count: int, params: dict) -> list[float]:
    """Returns the loss of each step on so many devices."""
    sharing = share_devices(jax.devices()[:count], ROWS, 1, FRAMES // CHUNK_FRAMES)
    assert len(sharing.devices) == count
    optimizer = make_optimizer(records.optimizer_config(steps=STEPS, schedule_steps=2 * STEPS))
    loss = make_detection_loss(MODEL, records.loss_config(release_gpus=2), sharing.shares)
    step = map_step(make_train_step(loss, optimizer, 0.9), sharing.devices)
    state = replicate(create_state(*split(params), optimizer, 100.0, seed=3), sharing.devices)
    losses = []
    for number in range(STEPS):
        state, metrics = step(state, place(device_parts(batch(number), sharing), sharing.devices))
        losses.append(first_value(metrics["loss"]))
    return losses


def main() -> None:
    first = batch(0)
    params = jax.device_get(jax.jit(MODEL.init)(jax.random.key(0), first.frames, first.mask)["params"])
    print(json.dumps({count: curve(count, params) for count in (1, 2, 4, 8)}))


if __name__ == "__main__":
    main()
