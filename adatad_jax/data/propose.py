"""Values for the fields that a configuration leaves open, chosen for its data set: sampling, pyramid, batch, epochs.

For the THUMOS-14 training set, the rules reproduce the published recipe (a test checks this):

* `data.rate`: the median frame rate of the training videos.
* `data.stride`: the largest power of two (times `data.frames_per_position`) at which a median segment spans at least 8
  positions and there are at least 6 positions per second; then doubled until 95% of the segments fit into a window.
* `data.window`: 768 positions, or what the longest training video needs if that is less.
* `model.regression_ranges`: 0 to 4 positions at the finest level, doubled from level to level.
* `train.batch_size`: as many windows as hold 1536 frames, like two published windows; at most 16 windows, and at most
  a quarter of the training videos.
* `train.epochs`: 30 steps per training video, but 2000 to 6000 steps in all, and at least 15 epochs. The schedule ends
  with the last epoch. A twelfth of the epochs, and at least 2 steps, is warm-up. About ten checkpoints are written.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from adatad_jax.config.build import make_detector
from adatad_jax.config.fields import Config
from adatad_jax.config.open_fields import open_fields
from adatad_jax.config.validation import validate
from adatad_jax.data.annotations import Video, select_subset
from adatad_jax.data.subset import load_videos
from adatad_jax.detection.points import regression_ranges
from adatad_jax.errors import UserError
from adatad_jax.models.sizes import CHUNK_FRAMES

MEDIAN_SPAN = 8  # positions
RATE = 6  # positions per second
FITTING = 0.95  # of the segments
WINDOW, RESIZED_WINDOW = 768, 192  # positions, as published for THUMOS-14 and ActivityNet
BATCH_FRAMES, BATCH = 1536, 16
STEPS_PER_VIDEO, STEPS, EPOCHS = 30, (2000, 6000), 15


class Proposal(NamedTuple):
    """A configuration whose open fields were filled.

    Attributes:
      config: the configuration, without open fields.
      reasons: a mapping from each field that was open to the reason for its value.
    """

    config: Config
    reasons: dict[str, str]


class Facts(NamedTuple):
    """The input of the rules: statistics of the training videos that have segments.

    Attributes:
      videos: number of videos.
      rate: median frame rate, in frames per second.
      longest: number of frames of the longest video.
      median: median length of the segments, in frames.
      most: length that only 5% of the segments exceed, in frames.
    """

    videos: int
    rate: float
    longest: int
    median: float
    most: float


def resolve(config: Config, console: Console) -> Config:
    """Fills a configuration's open fields from its annotations and prints them with their reasons on the console.

    A configuration without `propose` is returned as it is.

    Raises:
      UserError: the annotations are wrong, or the fields that are set leave no valid value for the open ones.
    """
    if not config.propose:
        return config
    training = select_subset(load_videos(config), config.data.train_subset, config.data.annotations)
    proposal = propose(config, training)
    validate(proposal.config)
    console.print(f"chosen for {config.data.annotations}, because the configuration leaves these fields open:")
    for field, reason in proposal.reasons.items():
        console.print(f"  --config.{field}={proposal.config.flat()[field]}  {reason}")
    return proposal.config


def propose(config: Config, videos: Mapping[str, Video]) -> Proposal:
    """Fills the open fields of a configuration by the rules above; a field that has a value keeps it.

    Args:
      config: a configuration with `propose` set; it is not changed.
      videos: a mapping from name to video, for the training subset.

    Raises:
      UserError: no video has a segment, or the window of the configuration is too short for the pyramid.
    """
    facts = look(config, videos)
    missing = open_fields(config)
    reasons: dict[str, str] = {}
    config = config.with_fields({"propose": False})

    def fill(field: str, value: Any, reason: str) -> None:
        nonlocal config
        if field in missing:
            config = config.with_fields({field: value})
            reasons[field] = reason

    levels = config.model.branch + 1
    fill("data.rate", round(facts.rate, 2), "frames per second, the median; detect reads other videos at this rate")
    fill("model.regression_ranges", regression_ranges(levels), f"doubled over {levels} levels")
    if config.data.sampling == "resize":
        fill("data.stride", config.data.frames_per_position, "not used: a whole video is spread over the window")
        fill("data.window", _multiple(RESIZED_WINDOW, config), "positions, as published for ActivityNet")
    else:
        longest_window = config.data.window or config.model.max_length or _multiple(WINDOW, config)
        stride = choose_stride(facts, config.data.frames_per_position, longest_window)
        seconds, span = facts.median / facts.rate, facts.median / stride
        fill("data.stride", stride, f"frames: a median segment of {seconds:.1f} s spans {span:.0f} positions")
        stride = config.data.stride
        length = math.ceil(facts.longest / stride)
        fill(
            "data.window",
            min(longest_window, _multiple(length, config)),
            f"positions: the longest training video has {length}; 95% of the segments have at most "
            f"{facts.most / stride:.0f} ({facts.most / facts.rate:.1f} s)",
        )
    frames = config.data.window * config.data.frames_per_position
    batch = max(1, min(BATCH_FRAMES // frames, BATCH, math.ceil(facts.videos / 4)))
    fill("train.batch_size", batch, f"windows of {frames} frames")
    for field, value, reason in _lengths(config, facts):
        fill(field, value, reason)
    return Proposal(config, reasons)


def _lengths(config: Config, facts: Facts) -> Iterator[tuple[str, int, str]]:
    """Yields (field, value, reason) for the fields that set the length of a run."""
    train = config.train
    steps = math.ceil(facts.videos / train.batch_size)
    wanted = min(max(STEPS_PER_VIDEO * facts.videos, STEPS[0]), STEPS[1])
    chosen = min(max(EPOCHS, round(wanted / steps)), train.schedule_epochs or 10**9)
    yield "train.epochs", chosen, f"of {steps} steps, {chosen * steps} in all, for {facts.videos} training videos"
    epochs = train.epochs or chosen
    # a schedule needs two steps of warm-up and some steps after it, even in a trial of one epoch
    warmup = max(math.ceil(2 / steps), round(epochs / 12))
    yield "train.schedule_epochs", max(epochs, warmup + 1), "the learning rate falls to 0 with the last epoch"
    yield "train.warmup_epochs", warmup, "a twelfth of the epochs, at least 2 steps"
    yield "train.checkpoint_every", max(1, epochs // 10), "epochs: about ten checkpoints"


def look(config: Config, videos: Mapping[str, Video]) -> Facts:
    """Computes the statistics that the rules use.

    Args:
      config: the configuration; its `data.ignore_labels` are left out.
      videos: a mapping from name to video, for the training subset.

    Raises:
      UserError: no video has a segment.
    """
    data = config.data
    used: list[Video] = []
    lengths: list[float] = []
    for video in videos.values():
        kept = np.array([label not in data.ignore_labels for label in video.labels], bool)
        own = (video.segments[kept, 1] - video.segments[kept, 0]) * video.fps
        if len(own):
            used.append(video)
            lengths.extend(own.tolist())
    if not used:
        raise UserError(
            f"{data.annotations}: no video of subset {data.train_subset!r} has a segment, so nothing can be learned; "
            "check --config.data.train_subset and --config.data.ignore_labels"
        )
    return Facts(
        videos=len(used),
        rate=float(np.median([video.fps for video in used])),
        longest=max(video.frames for video in used),
        median=float(np.median(lengths)),
        most=float(np.quantile(lengths, FITTING)),
    )


def choose_stride(facts: Facts, frames_per_position: int, window: int) -> int:
    """Returns the stride in source frames per grid position: `frames_per_position` times a power of two.

    Args:
      facts: statistics of the training videos.
      frames_per_position: number of frames loaded per position.
      window: number of positions into which 95% of the segments must fit.
    """
    stride = frames_per_position
    while 2 * stride <= min(facts.median / MEDIAN_SPAN, facts.rate / RATE):
        stride *= 2
    while facts.most > window * stride:
        stride *= 2
    return stride


def _multiple(length: int, config: Config) -> int:
    """Returns the shortest window of at least `length` positions that the backbone's chunks and the pyramid divide."""
    chunk = CHUNK_FRAMES // math.gcd(CHUNK_FRAMES, config.data.frames_per_position)
    factor = math.lcm(chunk, make_detector(config, classes=1).length_factor)
    return math.ceil(length / factor) * factor
