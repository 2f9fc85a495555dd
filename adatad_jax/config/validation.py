"""The checks of a configuration that are possible before any file is opened."""

from adatad_jax.config.build import make_detector, make_vit, random_before_backbone
from adatad_jax.config.fields import Config
from adatad_jax.config.open_fields import open_fields
from adatad_jax.config.rules import Rule, check, rules_on_steps, wrong_values
from adatad_jax.models.sizes import CHUNK_FRAMES, SIZES

# Fields that the joint rules look up or divide by, so that they must be valid by themselves.
COMPUTED_WITH = ("model.size", "data.frames_per_position")


def validate(config: Config) -> None:
    """Checks a configuration as far as possible before any file is opened. Open fields are allowed.

    Raises:
      UserError: fields are invalid; all of them are listed.
    """
    missing = open_fields(config)
    wrong = wrong_values(config, missing)
    rules = [*_rules_on_parts(config), *rules_on_steps(config.train)]
    if wrong.keys().isdisjoint(COMPUTED_WITH):
        rules += _joint_rules(config, missing)
    check(config, wrong, rules, missing)
    make_vit(config.model)
    if "model.regression_ranges" not in missing:
        make_detector(config, classes=1)


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
    ]
    if "train.schedule_epochs" not in missing:
        rules.append(Rule("train.epochs", train.epochs <= train.schedule_epochs, "at most schedule_epochs"))
    return rules


def _rules_on_parts(config: Config) -> list[Rule]:
    """Lists the rules on fields that hold several numbers."""
    ratio, windows, levels = config.data.crop_ratio, config.model.attention_windows, config.model.branch + 1
    tious = config.test.tious
    return [
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
