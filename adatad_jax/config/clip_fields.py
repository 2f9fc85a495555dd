"""Every field of the two trainings on clips: masked pre-training, and fine-tuning with labels (arXiv 2203.12602)."""

from dataclasses import dataclass, field
from typing import ClassVar

from adatad_jax.config.run_fields import EncoderConfig, ReadingConfig, RunConfig, StepsConfig
from adatad_jax.config.settings import setting


@dataclass(frozen=True)
class ClipsConfig(ReadingConfig):
    """Videos, and the clips of 16 frames that are cut from them."""

    videos: str = setting("", "folder of video files, searched with its subfolders, any container")
    stride: int = setting(4, "source frames from one frame of a clip to the next", at_least=1)
    clips: int = setting(1, "clips per video and epoch; more than one pays where videos are long", at_least=1)
    short_side: int = setting(256, "short side of the frames from which clips are cropped, pixels", at_least=1)
    crop: int = setting(224, "side of the model's frames, pixels", at_least=1)
    flip: float = setting(0.0, "probability of mirroring a training clip", at_least=0, at_most=1)


@dataclass(frozen=True)
class AutoencoderFields(EncoderConfig):
    """The masked autoencoder. Its decoder belongs to the size of the encoder."""

    mask_ratio: float = setting(0.9, "share of the patches of a frame that are masked", above=0, below=1)
    remat: bool = setting(False, "recompute the activations of blocks in the backward pass, and keep fewer")


@dataclass(frozen=True)
class PretrainingSteps(StepsConfig):
    """Batches, learning rate, and when a run is saved and evaluated."""

    batch_size: int = setting(64, "clips of a step, over all devices", at_least=1)
    epochs: int = setting(800, "epochs that are run", at_least=1)
    schedule_epochs: int = setting(800, "epochs over which the cosine is laid out", at_least=1)
    warmup_epochs: int = setting(40, "epochs over which the learning rate rises", at_least=0)
    rate: float = setting(1.5e-4, "highest learning rate at a batch of 256; it grows with the batch", above=0)
    end_rate: float = setting(1e-5, "last learning rate at a batch of 256", at_least=0)
    beta2: float = setting(0.95, "decay of the squared gradient in Adam", above=0, below=1)
    clip_norm: float = setting(0.0, "largest global L2 norm of the gradients; 0: any", at_least=0)
    ema: float = setting(0.0, "decay of the average of the parameters; 0: none", at_least=0, below=1)
    checkpoint_every: int = setting(20, "epochs between checkpoints", at_least=1)
    eval_from: int = setting(
        1, "first epoch after which clips are reconstructed, for a picture and their error; 0: never", at_least=0
    )
    eval_every: int = setting(20, "epochs between such reconstructions", at_least=0)


@dataclass(frozen=True)
class PretrainingConfig(RunConfig):
    """Masked pre-training. Defaults: the published recipe at size S, without paths."""

    task: ClassVar[str] = "masked pre-training"

    weights: str = setting(
        "", "VideoMAE to go on from: a .pth, a converted folder or a run; its decoder if it has one; empty: none"
    )
    data: ClipsConfig = field(default_factory=ClipsConfig)
    model: AutoencoderFields = field(default_factory=AutoencoderFields)
    train: PretrainingSteps = field(default_factory=PretrainingSteps)


@dataclass(frozen=True)
class LabelledClipsConfig(ClipsConfig):
    """Labelled videos, and the clips of 16 frames that are cut from them."""

    labels: str = setting(
        "",
        "CSV with the columns video and label, and subset if it has one; empty: the folder in which a video lies is "
        "its label",
    )
    classes: str = setting("", "text file, one label per line; empty: the sorted labels")
    train_subset: str = setting("training", "subset to train on, where there are any")
    test_subset: str = setting("validation", "subset to evaluate on, where there are any")
    split: float = setting(
        0.8, "share of each label's videos to train on, where there are no subsets", above=0, below=1
    )
    flip: float = setting(0.5, "probability of mirroring a training clip", at_least=0, at_most=1)
    random_resized_crop: bool = setting(True, "crop training clips at random; else at the centre")
    rand_augment: bool = setting(True, "two of fifteen colour and geometry operations on a training clip")
    color_jitter: bool = setting(True, "brightness, contrast, saturation and hue of a training clip")


@dataclass(frozen=True)
class ClassifierFields(EncoderConfig):
    """The classifier: encoder, mean of the tokens, norm, linear head."""

    drop_path: float = setting(0.1, "stochastic depth of the last block", at_least=0, below=1)
    remat: bool = setting(False, "recompute the activations of blocks in the backward pass, and keep fewer")


@dataclass(frozen=True)
class FinetuningSteps(StepsConfig):
    """Batches, learning rate, loss, and when a run is saved and evaluated."""

    batch_size: int = setting(32, "clips of a step, over all devices", at_least=1)
    epochs: int = setting(150, "epochs that are run", at_least=1)
    schedule_epochs: int = setting(150, "epochs over which the cosine is laid out", at_least=1)
    warmup_epochs: int = setting(5, "epochs over which the learning rate rises", at_least=0)
    rate: float = setting(5e-4, "highest learning rate at a batch of 256; it grows with the batch", above=0)
    end_rate: float = setting(1e-6, "last learning rate at a batch of 256", at_least=0)
    layer_decay: float = setting(
        0.7, "factor of the learning rate from each block to the one before it", above=0, at_most=1
    )
    clip_norm: float = setting(0.0, "largest global L2 norm of the gradients; 0: any", at_least=0)
    ema: float = setting(0.0, "decay of the average of the parameters; 0: none", at_least=0, below=1)
    label_smoothing: float = setting(0.1, "of the targets", at_least=0, below=1)
    mixup: bool = setting(True, "mix pairs of clips and their targets (Mixup and CutMix, half of the batches each)")
    checkpoint_every: int = setting(5, "epochs between checkpoints", at_least=1)
    eval_from: int = setting(1, "first epoch after which to evaluate, counted from 1; 0: never", at_least=0)
    eval_every: int = setting(5, "epochs between evaluations", at_least=0)


@dataclass(frozen=True)
class ClipEvaluationConfig:
    """What of a video is classified: the section `test`."""

    batch_size: int = setting(8, "views computed at once", at_least=1)
    clips: int = setting(5, "clips of a video, spread evenly over it; their probabilities are averaged", at_least=1)
    crops: int = setting(3, "crops of a clip, spread along its long side; 1: the centre", at_least=1)


@dataclass(frozen=True)
class FinetuningConfig(RunConfig):
    """Fine-tuning of a classifier. Defaults: the published recipe at size S, without paths."""

    task: ClassVar[str] = "clip classification"

    weights: str = setting(
        "", "VideoMAE to start from: a .pth, a converted folder or a run; its classifier if it fits; empty: none"
    )
    data: LabelledClipsConfig = field(default_factory=LabelledClipsConfig)
    model: ClassifierFields = field(default_factory=ClassifierFields)
    train: FinetuningSteps = field(default_factory=FinetuningSteps)
    test: ClipEvaluationConfig = field(default_factory=ClipEvaluationConfig)
