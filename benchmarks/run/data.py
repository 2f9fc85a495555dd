"""The part `data`: how long training waits for windows, read from video files and from the frame cache."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import jax
from rich.console import Console

from adatad_jax.config.fields import Config
from adatad_jax.data.cache import DEFAULT_QUALITY
from adatad_jax.data.dataset import TrainingWindows
from adatad_jax.data.loader import TrainingBatches, placed_ahead
from adatad_jax.data.subset import load_classes
from adatad_jax.devices.choice import Sharing, set_precision
from adatad_jax.devices.placing import replicate
from adatad_jax.pipelines.fitting import training_policy
from adatad_jax.pipelines.prepare_cache import prepare
from adatad_jax.pipelines.train_detector import make_plan
from adatad_jax.training.parameters import split
from adatad_jax.training.state import create_state
from adatad_jax.weights.initialize import initial_shapes
from benchmarks import loading
from benchmarks.run.cases import LONG, SHORT, STEPS_PER_EPOCH, random_parameters
from benchmarks.run.context import Context
from benchmarks.run.rows import WAITING, Row, spread

TRAINED, CACHE = "training from ", "cache"
FROM_CACHE = TRAINED + CACHE
MINUTES = 2  # of the video that is made
STEPS, ROUNDS = 6, 5  # steps after the first; samples that are loaded apart from training
MAKING, LOADING, TRAINING = 25.0, 15.0, 45.0  # seconds, about
SECONDS = MAKING + 2 * (LOADING + TRAINING)


def measure(context: Context) -> Iterator[Row]:
    """Measures the share of training steps spent waiting, and the loading of windows of full length by itself."""
    frames = LONG if context.is_gpu else SHORT
    with tempfile.TemporaryDirectory() as name:
        folder, console = Path(name), Console(quiet=True)
        with context.advance.piece("data: making a video and its cache", MAKING):
            video = folder / "small.mp4"
            seconds = 20 if context.quick else 60 * MINUTES
            loading.write_video(video, 320, 180, seconds * loading.FPS, "medium")
            config = loading.make_config(folder / "data", [video])
            prepare(config, folder / "cache", DEFAULT_QUALITY, context.threads, console)
        sources = {"video files": "", CACHE: str(folder / "cache")}
        for source, cache in sources.items():
            with context.advance.piece(f"data: loading from {source}", LOADING):
                yield _loading_row(context, config.with_fields({"data.cache": cache}), source)
        for source, cache in sources.items():
            fields = {"data.window": frames, "model.dtype": context.dtype, "data.cache": cache}
            if not context.is_gpu:
                fields["train.batch_size"] = 1
            with context.advance.piece(f"data: training from {source}", TRAINING):
                yield _waiting_row(context, config.with_fields(fields), source)


def _loading_row(context: Context, config: Config, source: str) -> Row:
    """Loads windows of full length on all cores, with nothing else at work."""
    windows = open_windows(config)
    found = []
    for number in range(1 + (1 if context.quick else ROUNDS)):  # the first is a warm-up
        context.idle.wait()
        samples = [(number * context.threads + copy, 0) for copy in range(context.threads)]
        found.append(loading.timed(windows, samples, context.threads)[0])
    row = Row(WAITING, "S", LONG, 1, None, f"loading from {source} alone", "s per window", None)
    seconds = found[1:]
    return row._replace(ours=sorted(seconds)[len(seconds) // 2], spread=spread(seconds))


def _waiting_row(context: Context, config: Config, source: str) -> Row:
    """Trains some steps, and measures for how much of them the loop waits."""
    steps = 2 if context.quick else STEPS
    shares = list(waiting_shares(config, context.device, steps))
    train, data = config.train, config.data
    setting = f"{TRAINED}{source}, {config.data.threads} threads"
    row = Row(WAITING, "S", data.window, train.batch_size, config.model.dtype, setting, "share of a step", None)
    return row._replace(ours=sum(shares) / len(shares))


def waiting_shares(config: Config, device: jax.Device, steps: int) -> Iterator[float]:
    """Yields the share of each step in which the loop waited for its batch; the first step, which compiles, is not.

    Args:
      config: of the run.
      device: that computes.
      steps: number of shares.
    """
    set_precision(config.model.dtype)
    sharing = Sharing((device,))
    windows = open_windows(config)
    classes = len(load_classes(config))
    policy = training_policy(config, sharing, classes, None, Console(quiet=True)).policy
    plan = make_plan(config, policy, sharing, classes, STEPS_PER_EPOCH)
    trained, frozen = split(random_parameters(initial_shapes(plan.model, config)))
    state = replicate(create_state(trained, frozen, plan.optimizer, 100.0, 0), sharing.devices)
    batches = iter(placed_ahead(TrainingBatches(windows, config, sharing).from_step(0, steps + 1), sharing))
    state, _ = plan.step(state, next(batches).batch)
    jax.block_until_ready(state)
    for _ in range(steps):
        start = time.perf_counter()
        loaded = next(batches)
        waited = time.perf_counter() - start
        state, _ = plan.step(state, loaded.batch)
        jax.block_until_ready(state)
        yield waited / (time.perf_counter() - start)


def open_windows(config: Config) -> TrainingWindows:
    """Opens the training windows, from the videos or from the cache that the configuration names."""
    return loading.open_windows(config, Path(config.data.cache) if config.data.cache else None)
