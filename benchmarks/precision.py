"""The demo's loss curve with less precision, beside the one in float32.

`python benchmarks/precision.py [--folder DIR] [--steps 200] [--modes products frozen]` makes the demo's data and
weights in a folder, if they are not there yet, and takes the first steps of the demo's training in float32 and in each
mode: the same windows, draws and rates. It compares the losses step by step, and as running means over 20 steps, which
have less of the noise from window to window. The modes: `products` computes in bfloat16 (`model.dtype`); `frozen` keeps
the frozen weights in bfloat16 (`model.frozen_dtype`), and computes in float32.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from adatad_jax.config.fields import Config
from adatad_jax.config.memory import given_policy
from adatad_jax.console import make_console
from adatad_jax.data.loader import placed_ahead
from adatad_jax.demo.run import demo_config, make_data
from adatad_jax.devices.choice import set_precision
from adatad_jax.devices.placing import first_value, replicate
from adatad_jax.pipelines.train_detector import check_inputs, make_plan
from adatad_jax.training.parameters import split, with_frozen_in
from adatad_jax.training.state import create_state
from adatad_jax.weights.initialize import initialize

SPAN = 20  # steps of a running mean


class Mode(NamedTuple):
    """A way to compute with less precision.

    Attributes:
      field: of the configuration, which is bfloat16.
      allowed: largest relative difference of two running means.
    """

    field: str
    allowed: float


MODES = {"products": Mode("model.dtype", 0.02), "frozen": Mode("model.frozen_dtype", 0.01)}


def losses(name: str, config: Config, folder: Path, steps: int) -> np.ndarray:
    """Returns the losses of a run's first steps, `[steps]`; the name is for progress."""
    # Before anything is compiled: a float32 run stays one where a bfloat16 run has gone before.
    set_precision(config.model.dtype)
    inputs = check_inputs(config, folder / "run", make_console())
    policy = given_policy(config.model)
    plan = make_plan(inputs.config, policy, inputs.sharing, len(inputs.classes), inputs.batches.steps_per_epoch)
    trained, frozen = split(initialize(plan.model, config, inputs.classes).params, plan.groups)
    frozen = with_frozen_in(frozen, plan.frozen_dtype, plan.groups)
    fresh = create_state(trained, frozen, plan.optimizer, config.train.normalizer_start, config.seed)
    state = replicate(jax.device_get(fresh), plan.devices)
    found, start = [], time.perf_counter()
    for loaded in placed_ahead(inputs.batches.from_step(0, steps), inputs.sharing):
        state, metrics = plan.step(state, loaded.batch)
        found.append(first_value(metrics["loss"]))
        if len(found) % 20 == 0:
            seconds = time.perf_counter() - start
            print(f"{name}: {len(found)} of {steps} steps in {seconds:.0f} s, loss {found[-1]:.4f}")
    return np.array(found)


def running_means(values: np.ndarray, span: int) -> np.ndarray:
    """Returns the means of `span` neighbouring values, `[N - span + 1]`."""
    return np.convolve(values, np.full(span, 1 / span), mode="valid")


def compare(name: str, mode: Mode, full: np.ndarray, less: np.ndarray) -> None:
    """Prints how far the losses of a mode are from those in float32, both `[steps]`."""
    apart = np.abs(less - full) / full
    smooth_full, smooth_less = running_means(full, SPAN), running_means(less, SPAN)
    smooth = np.abs(smooth_less - smooth_full) / smooth_full
    print(f"{name} ({mode.field}=bfloat16), against float32:")
    print(f"  single steps: {apart.mean():.2%} on average, {np.median(apart):.2%} median, {apart.max():.2%} at most")
    print(
        f"  running means over {SPAN} steps: {smooth.mean():.2%} on average, {smooth.max():.2%} at most: "
        f"{'ok' if smooth.max() <= mode.allowed else f'TOO MUCH, more than {mode.allowed:.0%}'}"
    )


def main() -> None:
    """Takes the steps in float32 and in each mode, and prints how far the losses differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="of a demo's data and weights; default: one that is removed again")
    parser.add_argument("--steps", type=int, default=200, help=f"to take, at least {SPAN}")
    parser.add_argument("--train-videos", type=int, default=320, help="videos to make for training")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES), help="to compare with float32")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        make_data(folder, 0, args.train_videos, 1, make_console())
        config = demo_config(folder, seed=0, epochs=None)
        full = losses("float32", config, folder, args.steps)
        print(
            f"float32: loss {full[0]:.4f} at the first step, {running_means(full, SPAN)[-1]:.4f} over the last {SPAN}"
        )
        for name in args.modes:
            mode = MODES[name]
            less = losses(name, config.with_fields({mode.field: "bfloat16"}), folder, args.steps)
            compare(name, mode, full, less)


if __name__ == "__main__":
    main()
