"""What a configuration must satisfy before any file is opened."""

import math
from typing import Any

from ml_collections import ConfigDict

from adatad_jax.config.build import DTYPES, make_detector, make_post_processing, make_vit
from adatad_jax.config.fields import SAMPLINGS, open_fields
from adatad_jax.errors import UserError
from adatad_jax.models.sizes import CHUNK_FRAMES, SIZES


def validate(config: ConfigDict) -> None:
    """Checks what can be checked before any file is opened; fields left open are not wrong.

    Raises:
      UserError: listing every field that is wrong.
    """
    data, model, train = config.data, config.model, config.train
    problems: list[str] = []
    missing = open_fields(config)

    def expect(holds: bool, field: str, value: Any, expected: str) -> None:
        if not holds and field not in missing:
            problems.append(f"config.{field}={value!r}: expected {expected}")

    for section, names in {
        "data": ("stride", "frames_per_position", "window", "train_short_side", "test_short_side", "crop", "threads"),
        "train": ("batch_size", "epochs", "warmup_epochs", "release_gpus", "checkpoint_every", "keep_checkpoints"),
        "test": ("batch_size",),
    }.items():
        for name in names:
            expect(config[section][name] >= 1, f"{section}.{name}", config[section][name], "at least 1")
    if data.sampling == "windows" and data.stride >= 1 and data.frames_per_position >= 1:
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
    patch = SIZES[model.size].patch if model.size in SIZES else 1
    expect(data.crop >= patch, "data.crop", data.crop, f"at least the backbone's patch of {patch} pixels")
    expect(model.image_size >= patch, "model.image_size", model.image_size, f"at least the patch, {patch}")
    for name in ("drop_path", "backbone_drop_path", "dropout", "input_dropout"):
        expect(0 <= model[name] < 1, f"model.{name}", model[name], "in [0, 1)")
    for name in ("width", "heads", "embed", "image_size"):
        expect(model[name] >= 1, f"model.{name}", model[name], "at least 1")
    for name in ("stem", "branch", "head_convs", "max_length"):
        expect(model[name] >= 0, f"model.{name}", model[name], "at least 0")
    expect(data.test_short_side >= data.crop, "data.test_short_side", data.test_short_side, "at least data.crop")
    expect(
        data.random_resized_crop or data.train_short_side >= data.crop,
        "data.train_short_side",
        data.train_short_side,
        "at least data.crop",
    )
    expect(
        len(model.attention_windows) in (1, model.branch + 1)
        and all(isinstance(window, int) and window >= 0 for window in model.attention_windows),
        "model.attention_windows",
        model.attention_windows,
        f"odd numbers, 0 for all: one, or one for each of the {model.branch + 1} levels",
    )
    expect(
        model.max_length == 0 or model.max_length >= data.window,
        "model.max_length",
        model.max_length,
        f"0, or at least data.window, {data.window}",
    )
    expect(train.checkpoint_steps >= 0, "train.checkpoint_steps", train.checkpoint_steps, "at least 0")
    expect(0 < model.norm_eps < 1, "model.norm_eps", model.norm_eps, "in (0, 1)")
    expect(data.sampling in SAMPLINGS, "data.sampling", data.sampling, f"one of {', '.join(SAMPLINGS)}")
    expect(0 < data.time_limit < math.inf, "data.time_limit", data.time_limit, "a finite number of seconds above 0")
    expect(data.class_count >= 0, "data.class_count", data.class_count, "at least 0")
    for name in ("fps", "rate"):
        expect(0 <= data[name] < math.inf, f"data.{name}", data[name], "a finite number, 0 for none")
    expect(config.test.classifier_topk >= 1, "test.classifier_topk", config.test.classifier_topk, "at least 1")
    expect(
        not config.test.classifier or data.class_agnostic,
        "test.classifier",
        config.test.classifier,
        "none: the detector gives labels itself (data.class_agnostic=False)",
    )
    expect(config.seed >= 0, "seed", config.seed, "at least 0")
    expect(data.shuffle_within >= 0, "data.shuffle_within", data.shuffle_within, "at least 0")
    expect(0 < data.trunc_thresh <= 1, "data.trunc_thresh", data.trunc_thresh, "in (0, 1]")
    expect(0 <= data.overlap < 1, "data.overlap", data.overlap, "in [0, 1)")
    expect(0 < data.split < 1, "data.split", data.split, "a share in (0, 1)")
    expect(0 <= data.flip <= 1, "data.flip", data.flip, "a probability")
    expect(
        len(data.crop_ratio) == 2 and 0 < data.crop_ratio[0] <= data.crop_ratio[1] <= 1,
        "data.crop_ratio",
        data.crop_ratio,
        "two rising shares in (0, 1]",
    )
    if "train.schedule_epochs" not in missing:
        expect(train.epochs <= train.schedule_epochs, "train.epochs", train.epochs, "at most schedule_epochs")
    for name in ("tia_rate", "head_rate", "backbone_rate", "clip_norm", "normalizer_start", "regression_weight"):
        expect(0 < train[name] < math.inf, f"train.{name}", train[name], "a finite number above 0")
    expect(train.weight_decay >= 0, "train.weight_decay", train.weight_decay, "at least 0")
    expect(0 <= train.label_smoothing < 1, "train.label_smoothing", train.label_smoothing, "in [0, 1)")
    expect(0 <= train.ema < 1, "train.ema", train.ema, "in [0, 1)")
    expect(model.dtype in DTYPES, "model.dtype", model.dtype, f"one of {', '.join(DTYPES)}")
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
    ranges = model.regression_ranges
    expect(
        all(isinstance(pair, tuple) and len(pair) == 2 and 0 <= pair[0] < pair[1] for pair in ranges),
        "model.regression_ranges",
        ranges,
        "pairs of rising distances, one a level",
    )
    if problems:
        raise UserError("the configuration cannot work:\n  " + "\n  ".join(problems))
    make_vit(config)
    if "model.regression_ranges" not in missing:
        make_detector(config, classes=1)
    make_post_processing(config)
