"""The checks of a configuration that are possible before any file is opened."""

import math
from typing import Any, NamedTuple

from adatad_jax.config.build import make_detector, make_vit, random_before_backbone
from adatad_jax.config.fields import Config, fields_of
from adatad_jax.config.open_fields import open_fields
from adatad_jax.errors import UserError
from adatad_jax.models.sizes import CHUNK_FRAMES, SIZES

# Fields that the joint rules look up or divide by, so that they must be valid by themselves.
COMPUTED_WITH = ("model.size", "data.frames_per_position")


def validate(config: Config) -> None:
    """Checks a configuration as far as possible before any file is opened. Open fields are allowed.

    Raises:
      UserError: fields are invalid; all of them are listed.
    """
    missing = open_fields(config)
    problems: dict[str, str] = {}

    def expect(holds: bool, field: str, value: Any, expected: str) -> None:
        if not holds and field not in missing:
            problems.setdefault(field, f"config.{field}={value!r}: expected {expected}")

    for name, value, setting in fields_of(config):
        infinite = isinstance(value, float) and not math.isfinite(value)
        expect(setting.allows(value), name, value, "a finite number" if infinite else setting.expected)
    rules = _rules_on_parts(config)
    if problems.keys().isdisjoint(COMPUTED_WITH):
        rules += _joint_rules(config, missing)
    values = config.flat()
    for field, holds, expected in rules:
        expect(holds, field, values[field], expected)
    if problems:
        raise UserError("the configuration cannot work:\n  " + "\n  ".join(problems.values()))
    make_vit(config.model)
    if "model.regression_ranges" not in missing:
        make_detector(config, classes=1)


class Rule(NamedTuple):
    """A rule on several fields, or on the parts of one.

    Attributes:
      field: the field to name.
      holds: whether the configuration keeps the rule.
      expected: what the field must be, in words.
    """

    field: str
    holds: bool
    expected: str


def _joint_rules(config: Config, missing: tuple[str, ...]) -> list[Rule]:
    """Lists the rules on several fields."""
    data, model, train = config.data, config.model, config.train
    frames, patch = data.window * data.frames_per_position, SIZES[model.size].patch
    random = ", ".join(random_before_backbone(config))
    whole = data.sampling != "windows" or data.stride % data.frames_per_position == 0
    rules = [
        Rule("data.stride", whole, "a multiple of frames_per_position"),
        Rule(
            "data.window",
            frames % CHUNK_FRAMES == 0,
            f"a number that makes the window's {frames} frames a multiple of {CHUNK_FRAMES}",
        ),
        Rule("data.crop", data.crop >= patch, f"at least the backbone's patch of {patch} pixels"),
        Rule(
            "model.frozen_dtype",
            model.adaptation != "full" or model.frozen_dtype == "float32",
            "float32: full fine-tuning (model.adaptation=full) freezes no weights",
        ),
        Rule(
            "model.stream_dtype",
            model.remat is not False or model.stream_dtype == "float32",
            "float32 where model.remat=False: a stream is kept by itself only where the rest is recomputed",
        ),
        Rule("model.image_size", model.image_size >= patch, f"at least the patch, {patch}"),
        Rule("data.test_short_side", data.test_short_side >= data.crop, "at least data.crop"),
        Rule(
            "data.train_short_side",
            data.random_resized_crop or data.train_short_side >= data.crop,
            "at least data.crop",
        ),
        Rule(
            "model.max_length",
            model.max_length == 0 or model.max_length >= data.window,
            f"0, or at least data.window, {data.window}",
        ),
        Rule(
            "test.classifier",
            not config.test.classifier or data.class_agnostic,
            "none: the detector gives labels itself (data.class_agnostic=False)",
        ),
        Rule(
            "train.cache_features",
            not (train.cache_features and random),
            f"none: only features of a frozen backbone with nothing random before it stay the same, not with {random}",
        ),
        Rule("train.eval_every", train.eval_from == 0 or train.eval_every >= 1, "at least 1"),
        Rule(
            "train.log_steps",
            train.wandb == "off" or train.log_steps >= 1,
            f"at least 1 where train.wandb={train.wandb}",
        ),
    ]
    if train.batch_size >= 1 and train.accumulate >= 1:
        divisors = ", ".join(str(n) for n in range(1, train.batch_size + 1) if train.batch_size % n == 0)
        expected = f"a divisor of train.batch_size={train.batch_size}: {divisors}"
        rules.append(Rule("train.accumulate", train.batch_size % train.accumulate == 0, expected))
    if "train.schedule_epochs" not in missing:
        rules.append(Rule("train.epochs", train.epochs <= train.schedule_epochs, "at most schedule_epochs"))
    return rules


def _rules_on_parts(config: Config) -> list[Rule]:
    """Lists the rules on fields that hold several numbers."""
    ratio, windows, levels = config.data.crop_ratio, config.model.attention_windows, config.model.branch + 1
    tious, profiled = config.test.tious, config.train.profile_steps
    return [
        Rule(
            "train.profile_steps",
            not profiled
            or (
                len(profiled) == 2
                and all(isinstance(step, int) and not isinstance(step, bool) for step in profiled)
                and 1 <= profiled[0] <= profiled[1]
            ),
            "the first and the last step, counted from 1, such as 10,20, or () for no profile",
        ),
        Rule("data.crop_ratio", len(ratio) == 2 and 0 < ratio[0] <= ratio[1] <= 1, "two ascending fractions in (0, 1]"),
        Rule(
            "model.attention_windows",
            len(windows) in (1, levels) and all(isinstance(window, int) and window >= 0 for window in windows),
            f"odd numbers, or 0 for global attention: one for all levels, or one for each of the {levels} levels",
        ),
        Rule(
            "model.regression_ranges",
            all(
                isinstance(pair, tuple) and len(pair) == 2 and 0 <= pair[0] < pair[1]
                for pair in config.model.regression_ranges
            ),
            "pairs of ascending distances, one per level",
        ),
        Rule(
            "test.tious",
            len(tious) > 0
            and all(isinstance(tiou, int | float) and 0 < tiou <= 1 for tiou in tious)
            and len(set(tious)) == len(tious),
            "distinct numbers in (0, 1], at least one",
        ),
    ]
