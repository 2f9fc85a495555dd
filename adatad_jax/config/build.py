"""The objects that a configuration describes: the model, the loss, the post-processing."""

import dataclasses

import jax.numpy as jnp

from adatad_jax.config.fields import Config, EvaluationConfig, ModelConfig, TrainConfig
from adatad_jax.config.memory import given_policy
from adatad_jax.detection.objective import LossConfig
from adatad_jax.errors import UserError
from adatad_jax.models.adatad import AdaTAD, FromFeatures
from adatad_jax.models.policy import MemoryPolicy
from adatad_jax.models.sizes import SIZES, DetectorConfig, ViTConfig
from adatad_jax.postprocessing.detections import PostProcessing
from adatad_jax.postprocessing.nms import NmsSettings


def tia_blocks(text: str, depth: int) -> tuple[int, ...]:
    """Reads block indices from `all`, or from a list of numbers and ranges such as `0,2,20-39`.

    Args:
      text: the field `model.tia_blocks`.
      depth: number of blocks of the backbone.

    Returns:
      The indices, ascending and without repetition.

    Raises:
      UserError: the text has another form, or names a block beyond the depth.
    """
    if text == "all":
        return tuple(range(depth))
    blocks: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            raise UserError(f"config.model.tia_blocks={text!r}: expected all, or blocks such as 0,2,20-39")
        blocks |= set(range(int(first), int(last or first) + 1))
    if not blocks or max(blocks) >= depth:
        raise UserError(f"config.model.tia_blocks={text!r}: the backbone has blocks 0 to {depth - 1}")
    return tuple(sorted(blocks))


def make_vit(model: ModelConfig) -> ViTConfig:
    """Returns the backbone's dimensions; raises `UserError` if the adapters do not fit them."""
    size = SIZES[model.size]
    has_adapters = model.adaptation in ("tia", "side", "adapter")
    return dataclasses.replace(
        size,
        image_size=model.image_size,
        norm_eps=model.norm_eps,
        tia_blocks=tia_blocks(model.tia_blocks, size.depth) if has_adapters else (),
        tia_hidden=int(size.width * model.tia_ratio) if has_adapters else 0,
        side=model.adaptation == "side",
        temporal=model.adaptation != "adapter",
        drop_path=model.backbone_drop_path if model.adaptation in ("tia", "adapter", "full") else 0.0,
    )


def make_detector(config: Config, classes: int) -> DetectorConfig:
    """Returns the detector's dimensions for a number of classes; raises `UserError` if they do not fit each other."""
    model = config.model
    levels = model.branch + 1
    windows = tuple(window or None for window in model.attention_windows)
    return DetectorConfig(
        classes=classes,
        width=model.width,
        heads=model.heads,
        embed=model.embed,
        stem=model.stem,
        branch=model.branch,
        windows=windows * levels if len(windows) == 1 else windows,
        absolute_positions=model.absolute_positions,
        max_length=model.max_length or config.data.window,
        head_convs=model.head_convs,
        regression_ranges=tuple((float(low), float(high)) for low, high in model.regression_ranges),
        drop_path=model.drop_path,
        dropout=model.dropout,
        input_dropout=model.input_dropout,
    )


def make_model(config: Config, classes: int, policy: MemoryPolicy | None = None) -> AdaTAD:
    """Makes the whole detector for a number of classes, without parameters.

    Args:
      config: of the model.
      classes: number of classes.
      policy: of memory; None: where nothing large is computed, that of the configuration.

    Raises:
      UserError: the dimensions do not fit each other.
    """
    return AdaTAD(
        vit=make_vit(config.model),
        detector_config=make_detector(config, classes),
        dtype=jnp.dtype(config.model.dtype),
        policy=policy or given_policy(config.model),
    )


def learner(model: AdaTAD, config: Config) -> AdaTAD:
    """Returns the model as the training step computes it: on stored features, where the configuration stores them."""
    if not config.train.cache_features:
        return model
    return FromFeatures(model.vit, model.detector_config, model.dtype, model.policy, model.unroll, model.shares)


def random_before_backbone(config: Config) -> tuple[str, ...]:
    """Returns what makes the backbone's features of a frame differ from epoch to epoch, as `config.FIELD=VALUE`.

    Without any, the features of a chunk of 16 frames depend on these frames and the weights alone.
    """
    wanted = {
        "model.adaptation": "frozen",
        "data.random_resized_crop": False,
        "data.flip": 0.0,
        "data.rand_augment": False,
        "data.color_jitter": False,
        "data.shuffle_within": 0,
    }
    values = config.flat()
    return tuple(f"config.{name}={values[name]!r}" for name, value in wanted.items() if values[name] != value)


def make_loss(train: TrainConfig) -> LossConfig:
    """Returns the settings of the loss."""
    return LossConfig(
        regression_weight=train.regression_weight,
        label_smoothing=train.label_smoothing,
        all_candidates=train.all_candidates,
        release_gpus=train.release_gpus,
        normalizer_start=train.normalizer_start,
    )


def make_post_processing(config: Config) -> PostProcessing:
    """Returns the settings of the post-processing, from a model's outputs to detections."""
    test: EvaluationConfig = config.test
    nms = NmsSettings(
        use_soft_nms=test.soft_nms,
        sigma=test.sigma,
        iou_threshold=test.iou_threshold,
        min_score=test.min_score,
        max_seg_num=test.max_seg_num,
        multiclass=test.multiclass,
        voting_thresh=test.voting_thresh,
    )
    return PostProcessing(
        pre_nms_thresh=test.pre_nms_thresh,
        pre_nms_topk=test.pre_nms_topk,
        nms=nms,
        sliding_window=config.data.sampling == "windows",
        rounded=test.rounded,
    )
