"""Every field of a detector's configuration: type, default, the values it takes, and what it means.

This and `run_fields` are the one statement of a field. The `ConfigDict` that a file in `configs/` fills (`default`),
`--help`, the check of single values (`config.validation`) and the records that the program works with (`Config`) follow
from it. A field that is not here does not exist: a misspelt one is an error.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from ml_collections import ConfigDict

from adatad_jax.annotations.format_keys import AUTO, KEYS
from adatad_jax.config.records import defaults_of
from adatad_jax.config.run_fields import EncoderConfig, ReadingConfig, RunConfig, StepsConfig
from adatad_jax.config.settings import setting


@dataclass(frozen=True)
class DataConfig(ReadingConfig):
    """Videos, annotations, windows, and what is done to frames on the host."""

    video_prefix: str = setting("", "what file names have in front of the annotations' names")
    annotations: str = setting(
        "", "annotation file of any tool or data set (README), or a folder of them; its content tells its format"
    )
    format: str = setting(AUTO, f"format of the annotations; {AUTO}: recognised by their content", one_of=(AUTO, *KEYS))
    label_from: str = setting(
        "",
        "what gives the labels where annotations have several: action, verb or noun (EPIC-Kitchens), value or tier "
        "(ELAN), an attribute (VIA); empty: the first",
    )
    point_seconds: float = setting(
        0.0, "length, in seconds, of the segment around a point event; 0: point events are an error", at_least=0
    )
    classes: str = setting("", "text file, one label per line; empty: the sorted labels of the annotations")
    class_count: int = setting(0, "how many classes the list must have; 0: any number", at_least=0)
    come_from: str = setting("", "where to get videos and annotations, shown when they are missing")
    split: float = setting(
        0.8, "share of the videos to train on, where the annotations name no subsets", above=0, below=1
    )
    ignore_labels: tuple[str, ...] = setting(("Ambiguous",), "labels whose segments are neither learned nor required")
    train_subset: str = setting("training", "subset to train on, spelled as in the annotations")
    test_subset: str = setting("validation", "subset to evaluate on, spelled as in the annotations")
    fps: float = setting(
        0.0, "nominal frame rate the annotations refer to; 0: their frame count by their duration", at_least=0
    )
    rate: float = setting(
        0.0, "frames per second of the training videos, at which detect reads others; 0: each as it is", at_least=0
    )
    class_agnostic: bool = setting(False, "one class for all; labels at test come from test.classifier")
    sampling: str = setting(
        "windows",
        "windows: slide over a grid of frames; resize: a whole video spread over one window",
        one_of=("windows", "resize"),
    )
    stride: int = setting(4, "source frames per grid position, where sampling is windows", at_least=1)
    frames_per_position: int = setting(1, "frames loaded for each grid position", at_least=1)
    window: int = setting(768, "grid positions of a window", at_least=1)
    overlap: float = setting(0.5, "share of a test window that the next one repeats", at_least=0, below=1)
    release_windows: bool = setting(False, "lay out test windows exactly as the PyTorch release")
    filter_gt: bool = setting(False, "drop segments of no length (sampling resize: of at most 1% of the video)")
    trunc_thresh: float = setting(
        0.75, "a training segment keeps at least this share of its length", above=0, at_most=1
    )
    crop_ratio: tuple[float, ...] = setting(
        (0.9, 1.0), "least and largest share to which a video shorter than the window is cropped"
    )
    train_short_side: int = setting(182, "short side of training frames before the crop, pixels", at_least=1)
    test_short_side: int = setting(160, "short side of test frames before the crop, pixels", at_least=1)
    crop: int = setting(160, "side of the model's frames, pixels", at_least=1)
    random_resized_crop: bool = setting(True, "crop training windows at random; else at the centre")
    flip: float = setting(0.5, "probability of mirroring a training window", at_least=0, at_most=1)
    rand_augment: bool = setting(True, "two of fifteen colour and geometry operations on a training window")
    color_jitter: bool = setting(True, "brightness, contrast, saturation and hue of a training window")
    shuffle_within: int = setting(
        0, "a control: shuffle frames inside groups of so many, in training and test; 0: none", at_least=0
    )


@dataclass(frozen=True)
class ModelConfig(EncoderConfig):
    """The backbone, its adaptation, and the detector."""

    adaptation: str = setting(
        "tia",
        "of the backbone: tia (adapters in the blocks), side (adapters beside it), adapter (as tia, but plain: without "
        "the convolution over time), frozen, full (fine-tuning)",
        one_of=("tia", "side", "adapter", "frozen", "full"),
    )
    tia_blocks: str = setting("all", "blocks with an adapter, if there are any: all, or a list such as 0,2,20-39")
    tia_ratio: float = setting(0.25, "hidden size of an adapter, by the backbone's width", above=0)
    backbone_drop_path: float = setting(
        0.1, "stochastic depth of the backbone, where adaptation is tia, adapter or full", at_least=0, below=1
    )
    frozen_dtype: str = setting(
        "float32",
        "in which devices keep the matrices of a frozen backbone; bfloat16 takes half the memory",
        one_of=("float32", "bfloat16"),
    )
    memory: float | str = setting(
        AUTO,
        "GiB of a device that may be used; auto: 90% of what it has. Of remat, attention_chunks and mlp_chunks, those "
        "that are auto are chosen so that the work fits (docs/training.md)",
        above=0,
        or_auto=float,
    )
    remat: bool | str = setting(
        AUTO, "recompute the backbone's activations in the backward pass, and keep fewer", or_auto=bool
    )
    attention_chunks: int | str = setting(
        AUTO, "chunks of 16 frames that one block computes at once; 0: all", at_least=0, or_auto=int
    )
    mlp_chunks: int | str = setting(
        AUTO, "of these, chunks that the block's MLP computes at once; 0: all of them", at_least=0, or_auto=int
    )
    stream_dtype: str = setting(
        "float32",
        "in which the tokens between blocks are kept for the backward pass, where remat is on",
        one_of=("float32", "bfloat16"),
    )
    width: int = setting(512, "width of the detector", at_least=1)
    heads: int = setting(4, "attention heads of the detector", at_least=1)
    embed: int = setting(2, "embedding convolutions of the detector", at_least=1)
    stem: int = setting(2, "transformer blocks at full length", at_least=0)
    branch: int = setting(5, "transformer blocks that halve the length; levels = branch + 1", at_least=0)
    attention_windows: tuple[int, ...] = setting(
        (0,), "positions a position attends to, odd, 0: all; one number, or one per level"
    )
    max_length: int = setting(0, "grid positions a window is padded to; 0: data.window", at_least=0)
    absolute_positions: bool = setting(False, "add a sinusoid after the embedding convolutions")
    head_convs: int = setting(2, "hidden convolutions of each head", at_least=0)
    regression_ranges: tuple[tuple[float, float], ...] = setting(
        ((0, 4), (4, 8), (8, 16), (16, 32), (32, 64), (64, 10000)),
        "per level, the range of the larger boundary distance it regresses, grid positions",
    )
    drop_path: float = setting(0.1, "stochastic depth of the detector", at_least=0, below=1)
    dropout: float = setting(0.0, "elementwise dropout in the transformer blocks", at_least=0, below=1)
    input_dropout: float = setting(0.0, "dropout of whole channels of the features", at_least=0, below=1)


@dataclass(frozen=True)
class TrainConfig(StepsConfig):
    """Batches, learning rates, loss, and when a run is saved and evaluated."""

    schedule_epochs: int = setting(100, "epochs over which the cosine is laid out", at_least=1)
    tia_rate: float = setting(2e-4, "highest learning rate of the adapters", above=0)
    head_rate: float = setting(1e-4, "highest learning rate of the detector", above=0)
    backbone_rate: float = setting(
        1e-5, "highest learning rate of the backbone, where model.adaptation is full", above=0
    )
    clip_norm: float = setting(1.0, "largest global L2 norm of the gradients", above=0)
    regression_weight: float = setting(1.0, "factor of the boundary loss", above=0)
    label_smoothing: float = setting(0.0, "of the classification targets", at_least=0, below=1)
    all_candidates: bool = setting(False, "every candidate segment gives its class to a point, not the shortest alone")
    normalizer_start: float = setting(100.0, "where the loss normaliser starts", above=0)
    release_gpus: int = setting(
        2, "devices of the published run: its loss normaliser and epoch length follow them", at_least=1
    )
    cache_features: str = setting(
        "",
        "folder in which a frozen backbone's features are stored, so that each chunk of 16 frames passes through it "
        "once; auto: features/ of the run's folder; empty: none are",
    )


@dataclass(frozen=True)
class EvaluationConfig:
    """From the model's outputs to detections, and how they are measured: the section `test`."""

    batch_size: int = setting(2, "windows on each device", at_least=1)
    tious: tuple[float, ...] = setting((0.3, 0.4, 0.5, 0.6, 0.7), "tIoU thresholds that mAP is averaged over")
    pre_nms_thresh: float = setting(0.001, "candidates score above it", at_least=0, below=1)
    pre_nms_topk: int = setting(2000, "the most candidates per window", at_least=1)
    soft_nms: bool = setting(True, "scores of overlapping candidates decay; else the candidates go")
    sigma: float = setting(0.7, "of the decay in soft-NMS", above=0)
    iou_threshold: float = setting(0.0, "overlap from which hard NMS removes a candidate", at_least=0, at_most=1)
    min_score: float = setting(0.0, "detections that score less are dropped", at_least=0, below=1)
    max_seg_num: int = setting(2000, "the most detections per class, and of all classes", at_least=1)
    multiclass: bool = setting(True, "NMS within each class; else over all, with voting")
    voting_thresh: float = setting(
        0.7, "overlap from which candidates vote on the boundaries; 0: none do", at_least=0, at_most=1
    )
    classifier: str = setting("", "JSON file of video-level class scores, which give class-agnostic detections labels")
    classifier_topk: int = setting(2, "best classes per video that are used", at_least=1)
    classifier_sqrt: bool = setting(False, "a score is sqrt(detection * class), not their product")
    rounded: bool = setting(True, "seconds to 2 and scores to 4 decimals before NMS, as the release")


@dataclass(frozen=True)
class Config(RunConfig):
    """All of a run's configuration. Defaults: the THUMOS-14 recipe of the paper at size S, without paths."""

    task: ClassVar[str] = "temporal action detection"

    propose: bool = setting(False, "fields that are 0 or () are chosen for the data (adatad_jax/data/propose.py)")
    published: float = setting(0.0, "average mAP published for this recipe, percent; 0: none", at_least=0)
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    test: EvaluationConfig = field(default_factory=EvaluationConfig)


def default() -> ConfigDict:
    """Returns the defaults as what a detector's file in `configs/` starts from."""
    return defaults_of(Config)
