"""Checks what a configuration must satisfy before any file is opened."""

from typing import Any

from adatad_jax.config.build import make_detector, make_vit
from adatad_jax.config.fields import Config, fields_of
from adatad_jax.config.open_fields import open_fields
from adatad_jax.errors import UserError
from adatad_jax.models.sizes import CHUNK_FRAMES, SIZES


def validate(config: Config) -> None:
    """Checks what can be checked before any file is opened; fields left open are not wrong.

    Raises:
      UserError: listing every field that is wrong.
    """
    missing = open_fields(config)
    problems: dict[str, str] = {}

    def expect(holds: bool, field: str, value: Any, expected: str) -> None:
        if not holds and field not in missing:
            problems.setdefault(field, f"config.{field}={value!r}: expected {expected}")

    for name, value, setting in fields_of(config):
        expect(setting.allows(value), name, value, setting.expected or "a finite number")
    if not problems:  # the rules below compute with several fields
        for field, holds, expected in _joint_rules(config, missing):
            expect(holds, field, config.flat()[field], expected)
    if problems:
        raise UserError("the configuration cannot work:\n  " + "\n  ".join(problems.values()))
    make_vit(config.model)
    if "model.regression_ranges" not in missing:
        make_detector(config, classes=1)


def _joint_rules(config: Config, missing: tuple[str, ...]) -> list[tuple[str, bool, str]]:
    """Lists rules over several fields, or over the parts of one: the field to blame, whether it holds, and the rule."""
    data, model, train = config.data, config.model, config.train
    frames, patch = data.window * data.frames_per_position, SIZES[model.size].patch
    ratio, tious, levels = data.crop_ratio, config.test.tious, model.branch + 1
    rules = [
        (
            "data.stride",
            data.sampling != "windows" or data.stride % data.frames_per_position == 0,
            "a multiple of frames_per_position",
        ),
        (
            "data.window",
            frames % CHUNK_FRAMES == 0,
            f"a number that makes the window's {frames} frames a multiple of {CHUNK_FRAMES}",
        ),
        ("data.crop", data.crop >= patch, f"at least the backbone's patch of {patch} pixels"),
        ("model.image_size", model.image_size >= patch, f"at least the patch, {patch}"),
        ("data.test_short_side", data.test_short_side >= data.crop, "at least data.crop"),
        (
            "data.train_short_side",
            data.random_resized_crop or data.train_short_side >= data.crop,
            "at least data.crop",
        ),
        (
            "data.crop_ratio",
            len(ratio) == 2 and 0 < ratio[0] <= ratio[1] <= 1,
            "two rising shares in (0, 1]",
        ),
        (
            "model.attention_windows",
            len(model.attention_windows) in (1, levels)
            and all(isinstance(window, int) and window >= 0 for window in model.attention_windows),
            f"odd numbers, 0 for all: one, or one for each of the {levels} levels",
        ),
        (
            "model.max_length",
            model.max_length == 0 or model.max_length >= data.window,
            f"0, or at least data.window, {data.window}",
        ),
        (
            "model.regression_ranges",
            all(
                isinstance(pair, tuple) and len(pair) == 2 and 0 <= pair[0] < pair[1]
                for pair in model.regression_ranges
            ),
            "pairs of rising distances, one per level",
        ),
        (
            "test.tious",
            len(tious) > 0
            and all(isinstance(tiou, int | float) and 0 < tiou <= 1 for tiou in tious)
            and len(set(tious)) == len(tious),
            "distinct numbers in (0, 1], at least one",
        ),
    ]
    if "train.schedule_epochs" not in missing:
        rules.append(("train.epochs", train.epochs <= train.schedule_epochs, "at most schedule_epochs"))
    return rules
