"""The program's records with the defaults of the configuration, or of the release, and what a test changes."""

import dataclasses
from typing import Any

from adatad_jax.config.build import make_detector, make_loss
from adatad_jax.config.fields import Config
from adatad_jax.detection.objective import LossConfig
from adatad_jax.models.sizes import DetectorConfig
from adatad_jax.postprocessing.detections import PostProcessing
from adatad_jax.postprocessing.nms import NmsSettings
from adatad_jax.training.optimizer import OptimizerConfig


def detector_config(classes: int, **changes: Any) -> DetectorConfig:
    """Returns the dimensions of the published THUMOS-14 detector, changed; raises as `DetectorConfig`."""
    default = make_detector(Config(), classes)
    return DetectorConfig(**{**dataclasses.asdict(default), **changes})


def loss_config(**changes: Any) -> LossConfig:
    """Returns the published THUMOS-14 loss on one device, changed."""
    return dataclasses.replace(make_loss(Config().train), **{"release_gpus": 1, **changes})


def optimizer_config(**changes: Any) -> OptimizerConfig:
    """Returns a run of 10 steps, 2 of them warm-up, on a schedule of 20, with a frozen backbone, changed."""
    short = OptimizerConfig(
        tia_rate=1e-2,
        head_rate=1e-2,
        weight_decay=0.05,
        clip_norm=1.0,
        warmup_steps=2,
        schedule_steps=20,
        steps=10,
        backbone_rate=0.0,
    )
    return dataclasses.replace(short, **changes)


def nms_settings(**changes: Any) -> NmsSettings:
    """Returns the settings that the release has where a configuration of it says nothing, changed."""
    release = NmsSettings(
        use_soft_nms=True,
        sigma=0.5,
        iou_threshold=0.0,
        min_score=0.0,
        max_seg_num=100,
        multiclass=True,
        voting_thresh=0.0,
    )
    return dataclasses.replace(release, **changes)


def post_processing(**changes: Any) -> PostProcessing:
    """Returns the post-processing that the release has where a configuration of it says nothing, changed."""
    release = PostProcessing(
        pre_nms_thresh=0.001, pre_nms_topk=2000, nms=nms_settings(), sliding_window=True, rounded=True
    )
    return dataclasses.replace(release, **changes)
