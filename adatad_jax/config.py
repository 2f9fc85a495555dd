"""Every field of a run's configuration, with its default, and the records that the parts of the program take.

A file in `configs/` starts from `default()` and sets what differs; `--config.FIELD=VALUE` sets one field. A field that
is not here does not exist: a misspelt one is an error.
"""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
from ml_collections import ConfigDict

from adatad_jax.errors import UserError
from adatad_jax.evaluation.detections import PostProcessing
from adatad_jax.evaluation.nms import NmsSettings
from adatad_jax.models.adatad import AdaTAD, DetectorConfig
from adatad_jax.models.sizes import CHUNK_FRAMES, SIZES, ViTConfig
from adatad_jax.training.optimizer import OptimizerConfig
from adatad_jax.training.step import LossConfig

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def default() -> ConfigDict:
    """The THUMOS-14 recipe of the paper at size S, without paths."""
    config = ConfigDict()
    config.seed = 0
    config.weights = ""  # the VideoMAE backbone: a .pth, or a folder written by convert/pth_to_flax.py
    config.weights_from = ""  # where to get it, shown when it is missing

    config.data = ConfigDict()
    config.data.videos = ""  # folder of video files named as in the annotations, any container
    config.data.annotations = ""  # ActivityNet-style JSON
    config.data.classes = ""  # text file, one label a line; empty: the sorted labels of the annotations
    config.data.come_from = ""  # where to get videos and annotations, shown when they are missing
    config.data.ignore_labels = ("Ambiguous",)
    config.data.train_subset = "training"
    config.data.test_subset = "validation"
    config.data.stride = 4  # source frames per grid position
    config.data.frames_per_position = 1  # frames loaded for each
    config.data.window = 768  # grid positions
    config.data.overlap = 0.5  # of neighbouring test windows
    config.data.release_windows = False  # lay out test windows exactly as the PyTorch release
    config.data.filter_gt = False  # drop segments of no length
    config.data.trunc_thresh = 0.75  # a training segment keeps at least this share of its length
    config.data.crop_ratio = (0.9, 1.0)  # a video shorter than the window is cropped to such a share
    config.data.train_short_side = 182  # pixels
    config.data.test_short_side = 160
    config.data.crop = 160  # side of the model's frames, pixels
    config.data.random_resized_crop = True  # in training; else a centre crop
    config.data.flip = 0.5  # probability of mirroring a training window
    config.data.shuffle_within = 0  # a control: shuffle frames inside groups of so many, in training and test
    config.data.in_memory = False  # keep every video's resized frames (small data sets)
    config.data.threads = 8  # decoding threads

    config.model = ConfigDict()
    config.model.size = "S"  # of the backbone: tiny, S, B, L, H, g
    config.model.tia_blocks = "all"  # blocks with an adapter: all, none, or a list such as 0,2,20-39
    config.model.tia_ratio = 0.25  # hidden size of an adapter, by the width
    config.model.image_size = 224  # side of the pre-training frames, pixels
    config.model.backbone_drop_path = 0.1
    config.model.dtype = "bfloat16"  # of matrix products; parameters, norms and losses are float32
    config.model.remat = True  # recompute the backbone's activations in the backward pass
    config.model.width = 512  # of the detector, as all below
    config.model.heads = 4
    config.model.embed = 2  # embedding convolutions
    config.model.stem = 2  # transformer blocks at full length
    config.model.branch = 5  # transformer blocks that halve it; levels = branch + 1
    config.model.attention_window = 0  # positions around each that it attends to, odd; 0: all
    config.model.absolute_positions = False
    config.model.head_convs = 2
    config.model.regression_ranges = ((0, 4), (4, 8), (8, 16), (16, 32), (32, 64), (64, 10000))
    config.model.drop_path = 0.1

    config.train = ConfigDict()
    config.train.batch_size = 2  # windows, over all devices
    config.train.epochs = 60  # that are run
    config.train.schedule_epochs = 100  # over which the cosine is laid out
    config.train.warmup_epochs = 5
    config.train.tia_rate = 2e-4
    config.train.head_rate = 1e-4
    config.train.weight_decay = 0.05
    config.train.clip_norm = 1.0
    config.train.ema = 0.999
    config.train.regression_weight = 1.0
    config.train.label_smoothing = 0.0
    config.train.all_candidates = False  # every candidate segment gives its class to a point
    config.train.normalizer_start = 100.0
    config.train.release_gpus = 2  # R, devices of the published run: its loss normaliser and epoch length follow them
    config.train.checkpoint_every = 2  # epochs
    config.train.keep_checkpoints = 3  # the latest ones
    config.train.eval_from = 0  # first epoch after which to evaluate, counted from 1; 0: never
    config.train.eval_every = 2

    config.test = ConfigDict()
    config.test.batch_size = 2  # windows on each device
    config.test.tious = (0.3, 0.4, 0.5, 0.6, 0.7)
    config.test.pre_nms_thresh = 0.001
    config.test.pre_nms_topk = 2000
    config.test.soft_nms = True
    config.test.sigma = 0.7
    config.test.iou_threshold = 0.0
    config.test.min_score = 0.0
    config.test.max_seg_num = 2000
    config.test.multiclass = True  # NMS within each class; else over all, with voting
    config.test.voting_thresh = 0.7
    config.test.rounded = True  # seconds to 2 and scores to 4 decimals before NMS, as the release
    return config.lock()


def tia_blocks(text: str, depth: int) -> tuple[int, ...]:
    """Block indices from `all`, `none`, or a list of numbers and ranges such as `0,2,20-39`.

    Raises:
      UserError: anything else, or a block beyond the depth.
    """
    if text in ("all", "none"):
        return tuple(range(depth)) if text == "all" else ()
    blocks: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            raise UserError(f"config.model.tia_blocks={text!r}: expected all, none, or blocks such as 0,2,20-39")
        blocks |= set(range(int(first), int(last or first) + 1))
    if not blocks or max(blocks) >= depth:
        raise UserError(f"config.model.tia_blocks={text!r}: the backbone has blocks 0 to {depth - 1}")
    return tuple(sorted(blocks))


def make_vit(config: ConfigDict) -> ViTConfig:
    """The backbone's dimensions."""
    model = config.model
    if model.size not in SIZES:
        raise UserError(f"config.model.size={model.size!r}: expected one of {', '.join(SIZES)}")
    size = SIZES[model.size]
    blocks = tia_blocks(model.tia_blocks, size.depth)
    return dataclasses.replace(
        size,
        image_size=model.image_size,
        tia_blocks=blocks,
        tia_hidden=int(size.width * model.tia_ratio) if blocks else 0,
        drop_path=model.backbone_drop_path,
    )


def make_detector(config: ConfigDict, classes: int) -> DetectorConfig:
    """The detector's dimensions."""
    model = config.model
    window = model.attention_window or None
    return DetectorConfig(
        classes=classes,
        width=model.width,
        heads=model.heads,
        embed=model.embed,
        stem=model.stem,
        branch=model.branch,
        windows=(window,) * (model.branch + 1),
        absolute_positions=model.absolute_positions,
        max_length=config.data.window,
        head_convs=model.head_convs,
        regression_ranges=tuple((float(low), float(high)) for low, high in model.regression_ranges),
        drop_path=model.drop_path,
    )


def make_model(config: ConfigDict, classes: int) -> AdaTAD:
    """The whole detector."""
    return AdaTAD(
        vit=make_vit(config),
        detector_config=make_detector(config, classes),
        dtype=DTYPES[config.model.dtype],
        remat=config.model.remat,
    )


def make_loss(config: ConfigDict) -> LossConfig:
    train = config.train
    return LossConfig(
        regression_weight=train.regression_weight,
        label_smoothing=train.label_smoothing,
        all_candidates=train.all_candidates,
        release_gpus=train.release_gpus,
        normalizer_start=train.normalizer_start,
    )


def make_optimizer_config(config: ConfigDict, steps_per_epoch: int) -> OptimizerConfig:
    train = config.train
    return OptimizerConfig(
        tia_rate=train.tia_rate,
        head_rate=train.head_rate,
        weight_decay=train.weight_decay,
        clip_norm=train.clip_norm,
        warmup_steps=train.warmup_epochs * steps_per_epoch,
        schedule_steps=train.schedule_epochs * steps_per_epoch,
        steps=train.epochs * steps_per_epoch,
    )


def make_post_processing(config: ConfigDict) -> PostProcessing:
    test = config.test
    nms = NmsSettings(
        use_soft_nms=test.soft_nms,
        sigma=test.sigma,
        iou_threshold=test.iou_threshold,
        min_score=test.min_score,
        max_seg_num=test.max_seg_num,
        multiclass=test.multiclass,
        voting_thresh=test.voting_thresh,
    )
    return PostProcessing(test.pre_nms_thresh, test.pre_nms_topk, nms, rounded=test.rounded)


def validate(config: ConfigDict) -> None:
    """Checks what can be checked before any file is opened.

    Raises:
      UserError: listing every field that is wrong.
    """
    data, train = config.data, config.train
    problems: list[str] = []

    def expect(holds: bool, field: str, value: Any, expected: str) -> None:
        if not holds:
            problems.append(f"config.{field}={value!r}: expected {expected}")

    for section, names in {
        "data": ("stride", "frames_per_position", "window", "train_short_side", "test_short_side", "crop", "threads"),
        "train": ("batch_size", "epochs", "warmup_epochs", "release_gpus", "checkpoint_every", "keep_checkpoints"),
        "test": ("batch_size",),
    }.items():
        for name in names:
            expect(config[section][name] >= 1, f"{section}.{name}", config[section][name], "at least 1")
    if data.stride >= 1 and data.frames_per_position >= 1:
        expect(
            data.stride % data.frames_per_position == 0, "data.stride", data.stride, "a multiple of frames_per_position"
        )
    frames = data.window * data.frames_per_position
    expect(
        frames % CHUNK_FRAMES == 0,
        "data.window",
        data.window,
        f"a number that makes the window's {frames} frames a multiple of {CHUNK_FRAMES}",
    )
    patch = SIZES[config.model.size].patch if config.model.size in SIZES else 1
    expect(data.crop >= patch, "data.crop", data.crop, f"at least the backbone's patch of {patch} pixels")
    expect(
        config.model.image_size >= patch, "model.image_size", config.model.image_size, f"at least the patch, {patch}"
    )
    for name in ("drop_path", "backbone_drop_path"):
        expect(0 <= config.model[name] < 1, f"model.{name}", config.model[name], "in [0, 1)")
    for name in ("width", "heads", "embed", "image_size"):
        expect(config.model[name] >= 1, f"model.{name}", config.model[name], "at least 1")
    for name in ("stem", "branch", "head_convs", "attention_window"):
        expect(config.model[name] >= 0, f"model.{name}", config.model[name], "at least 0")
    expect(data.test_short_side >= data.crop, "data.test_short_side", data.test_short_side, "at least data.crop")
    expect(
        data.random_resized_crop or data.train_short_side >= data.crop,
        "data.train_short_side",
        data.train_short_side,
        "at least data.crop",
    )
    expect(config.seed >= 0, "seed", config.seed, "at least 0")
    expect(data.shuffle_within >= 0, "data.shuffle_within", data.shuffle_within, "at least 0")
    expect(0 < data.trunc_thresh <= 1, "data.trunc_thresh", data.trunc_thresh, "in (0, 1]")
    expect(0 <= data.overlap < 1, "data.overlap", data.overlap, "in [0, 1)")
    expect(0 <= data.flip <= 1, "data.flip", data.flip, "a probability")
    expect(
        len(data.crop_ratio) == 2 and 0 < data.crop_ratio[0] <= data.crop_ratio[1] <= 1,
        "data.crop_ratio",
        data.crop_ratio,
        "two rising shares in (0, 1]",
    )
    expect(train.epochs <= train.schedule_epochs, "train.epochs", train.epochs, "at most schedule_epochs")
    for name in ("tia_rate", "head_rate", "clip_norm", "normalizer_start", "regression_weight"):
        expect(0 < train[name] < math.inf, f"train.{name}", train[name], "a finite number above 0")
    expect(train.weight_decay >= 0, "train.weight_decay", train.weight_decay, "at least 0")
    expect(0 <= train.label_smoothing < 1, "train.label_smoothing", train.label_smoothing, "in [0, 1)")
    expect(0 <= train.ema < 1, "train.ema", train.ema, "in [0, 1)")
    expect(config.model.dtype in DTYPES, "model.dtype", config.model.dtype, f"one of {', '.join(DTYPES)}")
    tious = config.test.tious
    expect(
        len(tious) > 0
        and all(isinstance(t, int | float) and 0 < t <= 1 for t in tious)
        and len(set(tious)) == len(tious),
        "test.tious",
        tious,
        "distinct numbers in (0, 1], at least one",
    )
    for name in ("pre_nms_thresh", "min_score"):
        expect(0 <= config.test[name] < 1, f"test.{name}", config.test[name], "in [0, 1)")
    ranges = config.model.regression_ranges
    expect(
        all(isinstance(pair, tuple) and len(pair) == 2 and 0 <= pair[0] < pair[1] for pair in ranges),
        "model.regression_ranges",
        ranges,
        "pairs of rising distances, one a level",
    )
    if problems:
        raise UserError("the configuration cannot work:\n  " + "\n  ".join(problems))
    make_vit(config)
    make_detector(config, classes=1)
    make_post_processing(config)
