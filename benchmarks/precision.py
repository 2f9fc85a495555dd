"""The demo's loss curve with less precision, beside the one in float32.

`python -m benchmarks.precision [--folder DIR] [--steps 200] [--modes products frozen stream]` makes the demo's data and
weights in a folder, if they are not there yet, and takes the first steps of the demo's training in float32 and in each
mode: the same windows, draws and rates. It compares the losses step by step, and as running means over 20 steps, which
have less of the noise from window to window. The modes: `products` computes in bfloat16 (`model.dtype`); `frozen` keeps
the frozen weights in bfloat16 (`model.frozen_dtype`), and computes in float32; `stream` keeps the tokens between blocks
in bfloat16 (`model.stream_dtype`) for a backward pass that recomputes the rest.
"""

import argparse
import sys
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
from benchmarks.results import add_write_option, dated, write_between

SPAN = 20  # steps of a running mean
TITLES = (
    "relative difference",
    "single steps: mean",
    "most",
    f"running means over {SPAN}: mean",
    "most",
    "allowed",
)


class Mode(NamedTuple):
    """A way to compute with less precision.

    Attributes:
      field: of the configuration, which is bfloat16.
      allowed: largest relative difference of two running means.
    """

    field: str
    allowed: float


MODES = {
    "products": Mode("model.dtype", 0.02),
    "frozen": Mode("model.frozen_dtype", 0.01),
    "stream": Mode("model.stream_dtype", 0.01),
}
RECOMPUTED = {"model.remat": True}  # without which no stream is kept by itself; it computes the same


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


def compare(name: str, mode: Mode, full: np.ndarray, less: np.ndarray) -> tuple[list[str], bool]:
    """Compares the losses of a mode with those in float32, both `[steps]`.

    Returns:
      The row of the table, and whether the running means are as near as the mode allows.
    """
    apart = np.abs(less - full) / full
    smooth_full, smooth_less = running_means(full, SPAN), running_means(less, SPAN)
    smooth = np.abs(smooth_less - smooth_full) / smooth_full
    figures = (apart.mean(), apart.max(), smooth.mean(), smooth.max(), mode.allowed)
    return [f"{name}: {mode.field}=bfloat16", *(f"{figure:.2%}" for figure in figures)], smooth.max() <= mode.allowed


def main() -> None:
    """Takes the steps in float32 and in each mode, and prints how far the losses differ; code 1 if they are too far."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="of a demo's data and weights; default: one that is removed again")
    parser.add_argument("--steps", type=int, default=200, help=f"to take, at least {SPAN}")
    parser.add_argument("--train-videos", type=int, default=320, help="videos to make for training")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES), help="to compare with float32")
    add_write_option(parser)
    args = parser.parse_args()
    rows, is_near = [list(TITLES), ["---"] * len(TITLES)], True
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        make_data(folder, 0, args.train_videos, 1, make_console())
        config = demo_config(folder, seed=0, epochs=None)
        full = losses("float32", config.with_fields(RECOMPUTED), folder, args.steps)
        for name in args.modes:
            less = losses(name, config.with_fields({**RECOMPUTED, MODES[name].field: "bfloat16"}), folder, args.steps)
            row, fits = compare(name, MODES[name], full, less)
            rows.append(row)
            is_near = is_near and fits
    about = (
        f"{args.steps} steps of the demo; loss {full[0]:.4f} at first, {full[-SPAN:].mean():.4f} over the last {SPAN}."
    )
    text = "\n".join([about, "", *(f"| {' | '.join(row)} |" for row in rows)])
    print(text)
    if args.write:
        write_between("benchmarks.precision", f"{dated('benchmarks.precision')} {text}")
    sys.exit(not is_near)


if __name__ == "__main__":
    main()
