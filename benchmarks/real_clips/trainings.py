"""The trainings of a fold: masked pre-training, classification from it and from random weights, and detection."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from adatad_jax.config.build_clips import check_finetuning, check_pretraining
from adatad_jax.config.clip_fields import FinetuningConfig, PretrainingConfig
from adatad_jax.config.fields import Config
from adatad_jax.config.validation import validate
from adatad_jax.pipelines.finetune_classifier import finetune
from adatad_jax.pipelines.pretrain_autoencoder import pretrain
from adatad_jax.pipelines.train_detector import train
from adatad_jax.training.history import read_history
from benchmarks.real_clips.folds import TEST, TRAINING, Fold
from benchmarks.real_clips.footage import GMDCSA, RATE, UT

FRAME, LARGER = 64, 72  # side of the model's frames; short side from which training frames are cropped; pixels
MASK_RATIO = 0.75  # 12 of the 16 patches of a frame; of 0.9, a single one would be visible
CLIP_BATCH, WINDOW_BATCH = 16, 4
WINDOW = 128  # frames of a detector's window: 12.8 s, as long as the longest video
PRETRAINED, RANDOM = "masked pre-training", "random weights"  # what the classifiers start from


class Epochs(NamedTuple):
    """Lengths of the trainings, in epochs."""

    pretraining: int
    classification: int
    detection: int


FULL, QUICK = Epochs(16, 36, 50), Epochs(2, 4, 8)


class Classified(NamedTuple):
    """How often a classifier is right on the held-out clips.

    Attributes:
      top1: share of the clips.
      recall: class -> share of its clips, of classes that have some.
    """

    top1: float
    recall: Mapping[str, float]

    @property
    def mean_recall(self) -> float:
        """Returns the mean over classes, which does not reward the frequent one."""
        return sum(self.recall.values()) / len(self.recall)


class Detected(NamedTuple):
    """mAP on the held-out subject's videos, fractions.

    Attributes:
      map_50: at a tIoU of 0.5.
      average_map: over tIoU 0.3, 0.4, ..., 0.7.
    """

    map_50: float
    average_map: float


class Result(NamedTuple):
    """What came out of a fold.

    Attributes:
      fold: its number.
      classified: what the classifier started from -> how often it is right.
      detected: of the detector.
    """

    fold: int
    classified: Mapping[str, Classified]
    detected: Detected


def run_fold(fold: Fold, clips: Path, epochs: Epochs, console: Console) -> Result:
    """Takes the trainings of a fold; what an earlier start has finished is not trained again.

    Args:
      fold: with its files.
      clips: folder of all clips.
      epochs: of each training.
      console: where to report.
    """
    pretrained = fold.folder / "pretraining"
    console.rule(f"fold {fold.number}: masked pre-training")
    pretrain(pretraining_config(fold, epochs.pretraining), pretrained, console)
    classified = {}
    for start, weights in ((PRETRAINED, str(pretrained)), (RANDOM, "")):
        console.rule(f"fold {fold.number}: classification from {start}")
        run = classifier_folder(fold, start)
        finetune(finetuning_config(fold, clips, weights, epochs.classification), run, console)
        record = read_history(run)[-1]
        classified[start] = Classified(record["top1"], record["recall"])
    console.rule(f"fold {fold.number}: detection")
    weights = str(classifier_folder(fold, PRETRAINED))
    train(detection_config(fold, clips, weights, epochs.detection), detector_folder(fold), console)
    record = read_history(detector_folder(fold))[-1]
    return Result(fold.number, classified, Detected(record["mAP"]["0.5"], record["average_mAP"]))


def classifier_folder(fold: Fold, start: str) -> Path:
    """Returns the folder of the classifier that starts from `PRETRAINED` or `RANDOM`."""
    return fold.folder / ("classifier" if start == PRETRAINED else "classifier_from_random")


def detector_folder(fold: Fold) -> Path:
    """Returns the folder of the detector."""
    return fold.folder / "detector"


def _common(epochs: int) -> dict[str, Any]:
    """Returns the fields that all trainings share; the last epoch alone is saved and evaluated."""
    return {
        "data.in_memory": True,
        "data.threads": 2,
        "data.crop": FRAME,
        "model.size": "tiny",
        "model.image_size": FRAME,
        "model.dtype": "float32",
        "train.epochs": epochs,
        "train.schedule_epochs": epochs,
        "train.warmup_epochs": max(1, epochs // 10),
        "train.checkpoint_every": epochs,
        "train.eval_from": epochs,
        "train.eval_every": 1,
    }


def _of_clips(epochs: int, rate: float) -> dict[str, Any]:
    """Returns the fields that both trainings on clips share; clips are 16 consecutive frames, 1.6 s.

    Args:
      epochs: of the training.
      rate: highest learning rate, of the batch as it is.
    """
    return {
        **_common(epochs),
        "data.stride": 1,
        "data.flip": 0.5,
        "train.batch_size": CLIP_BATCH,
        "train.rate": rate * 256 / CLIP_BATCH,
    }


def pretraining_config(fold: Fold, epochs: int) -> PretrainingConfig:
    """Returns the configuration of masked pre-training."""
    fields = {
        **_of_clips(epochs, 3e-3),
        "data.videos": str(fold.videos),
        "data.short_side": LARGER,
        "data.clips": 4,
        "model.mask_ratio": MASK_RATIO,
    }
    config = PretrainingConfig().with_fields(fields)
    check_pretraining(config)
    return config


def finetuning_config(fold: Fold, clips: Path, weights: str, epochs: int) -> FinetuningConfig:
    """Returns the configuration of classification, the same for all weights that it may start from."""
    fields = {
        **_of_clips(epochs, 2e-3),
        "weights": weights,
        "data.videos": str(clips / UT),
        "data.labels": str(fold.labels),
        "data.train_subset": TRAINING,
        "data.test_subset": TEST,
        "data.short_side": LARGER,
        "data.clips": 2,
        "data.random_resized_crop": False,
        "data.rand_augment": False,
        "data.color_jitter": False,
        "model.drop_path": 0.0,
        "train.layer_decay": 1.0,
        "train.mixup": False,
        "test.crops": 1,
    }
    config = FinetuningConfig().with_fields(fields)
    check_finetuning(config)
    return config


def detection_config(fold: Fold, clips: Path, weights: str, epochs: int) -> Config:
    """Returns the configuration of detection: TIA, and the demo's detector."""
    fields = {
        **_common(epochs),
        "weights": weights,
        "data.videos": str(clips / GMDCSA),
        "data.annotations": str(fold.annotations),
        "data.classes": str(fold.classes),
        "data.train_subset": TRAINING,
        "data.test_subset": TEST,
        "data.ignore_labels": (),
        "data.rate": float(RATE),
        "data.stride": 1,
        "data.window": WINDOW,
        "data.train_short_side": LARGER,
        "data.test_short_side": FRAME,
        "data.random_resized_crop": False,
        "data.rand_augment": False,
        "data.color_jitter": False,
        "model.backbone_drop_path": 0.0,
        "model.width": 64,
        "model.stem": 1,
        "model.branch": 4,
        "model.regression_ranges": ((0, 4), (4, 8), (8, 16), (16, 32), (32, 10000)),
        "train.batch_size": WINDOW_BATCH,
        "train.tia_rate": 1e-3,
        "train.head_rate": 1e-3,
        "train.ema": 0.98,  # of the last 50 steps: a longer average would hold the first parameters
        "train.release_gpus": 1,
        "test.batch_size": WINDOW_BATCH,
    }
    config = Config().with_fields(fields)
    validate(config)
    return config
