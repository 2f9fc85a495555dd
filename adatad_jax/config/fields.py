"""Every field of a run's configuration, with its default, and the records that the parts of the program take.

A file in `configs/` starts from `default()` and sets what differs; `--config.FIELD=VALUE` sets one field. A field that
is not here does not exist: a misspelt one is an error.
"""

from typing import Any

from ml_collections import ConfigDict

SAMPLINGS = ("windows", "resize")
# Fields that can be left open, 0 or (), where `propose` is set.
PROPOSED = (
    "data.rate",
    "data.stride",
    "data.window",
    "model.regression_ranges",
    "train.batch_size",
    "train.epochs",
    "train.schedule_epochs",
    "train.warmup_epochs",
    "train.checkpoint_every",
)


def default() -> ConfigDict:
    """The THUMOS-14 recipe of the paper at size S, without paths."""
    config = ConfigDict()
    config.seed = 0
    config.propose = False  # fields of `PROPOSED` that are 0 or () are chosen for the data (data/propose.py)
    config.published = 0.0  # average mAP published for this recipe, percent; 0: none
    config.weights = ""  # the VideoMAE backbone: a .pth, or a folder written by convert/pth_to_flax.py
    config.weights_from = ""  # where to get it, shown when it is missing

    config.data = ConfigDict()
    config.data.videos = ""  # folder of video files named as in the annotations, any container
    config.data.video_prefix = ""  # what file names have in front of the annotations' names
    config.data.annotations = ""  # ActivityNet-style JSON, or a CSV file with the columns video, start, end, label
    config.data.classes = ""  # text file, one label a line; empty: the sorted labels of the annotations
    config.data.class_count = 0  # how many classes the list must have; 0: any number
    config.data.come_from = ""  # where to get videos and annotations, shown when they are missing
    config.data.split = 0.8  # share of the videos to train on, where a CSV file names no subsets
    config.data.ignore_labels = ("Ambiguous",)
    config.data.train_subset = "training"
    config.data.test_subset = "validation"
    config.data.fps = 0.0  # nominal frame rate the annotations refer to; 0: their frame count by their duration
    config.data.rate = 0.0  # frames a second of the training videos, as which detect reads others; 0: each as it is
    config.data.class_agnostic = False  # one class for all; labels at test come from test.classifier
    config.data.sampling = "windows"  # of the grid; "resize": a whole video spread over one window
    config.data.stride = 4  # source frames per grid position, where sampling is windows
    config.data.frames_per_position = 1  # frames loaded for each
    config.data.window = 768  # grid positions
    config.data.overlap = 0.5  # of neighbouring test windows
    config.data.release_windows = False  # lay out test windows exactly as the PyTorch release
    config.data.filter_gt = False  # drop segments of no length (sampling resize: of at most 1% of the video)
    config.data.trunc_thresh = 0.75  # a training segment keeps at least this share of its length
    config.data.crop_ratio = (0.9, 1.0)  # a video shorter than the window is cropped to such a share
    config.data.train_short_side = 182  # pixels
    config.data.test_short_side = 160
    config.data.crop = 160  # side of the model's frames, pixels
    config.data.random_resized_crop = True  # in training; else a centre crop
    config.data.flip = 0.5  # probability of mirroring a training window
    config.data.rand_augment = True  # two of fifteen colour and geometry operations on a training window
    config.data.color_jitter = True  # brightness, contrast, saturation and hue of a training window
    config.data.shuffle_within = 0  # a control: shuffle frames inside groups of so many, in training and test
    config.data.in_memory = False  # keep every video's resized frames (small data sets)
    config.data.threads = 8  # decoding threads
    config.data.time_limit = 60.0  # seconds that a video may take to open, and a sample to be read
    config.data.skip_broken = False  # go on without videos that cannot be read, and list them
    config.data.cache = ""  # folder written by `python -m adatad_jax.prepare`: frames come from it, not from the videos

    config.model = ConfigDict()
    config.model.size = "S"  # of the backbone: tiny, S, B, L, H, g
    config.model.adaptation = "tia"  # of the backbone: tia, side (adapters beside it), frozen, full (fine-tuning)
    config.model.tia_blocks = "all"  # blocks with an adapter, for tia and side: all, or a list such as 0,2,20-39
    config.model.tia_ratio = 0.25  # hidden size of an adapter, by the width
    config.model.image_size = 224  # side of the pre-training frames, pixels
    config.model.norm_eps = 1e-6  # of the backbone's norms (checkpoints of Hugging Face: 1e-12)
    config.model.backbone_drop_path = 0.1  # where adaptation is tia or full
    config.model.dtype = "bfloat16"  # of matrix products; parameters, norms and losses are float32
    config.model.remat = True  # recompute the backbone's activations in the backward pass
    config.model.width = 512  # of the detector, as all below
    config.model.heads = 4
    config.model.embed = 2  # embedding convolutions
    config.model.stem = 2  # transformer blocks at full length
    config.model.branch = 5  # transformer blocks that halve it; levels = branch + 1
    config.model.attention_windows = (0,)  # positions a position attends to, odd, 0: all; one, or one for each level
    config.model.max_length = 0  # grid positions a window is padded to; 0: data.window
    config.model.absolute_positions = False
    config.model.head_convs = 2
    config.model.regression_ranges = ((0, 4), (4, 8), (8, 16), (16, 32), (32, 64), (64, 10000))
    config.model.drop_path = 0.1
    config.model.dropout = 0.0  # elementwise, in the transformer blocks
    config.model.input_dropout = 0.0  # of whole channels of the features

    config.train = ConfigDict()
    config.train.batch_size = 2  # windows, over all devices
    config.train.epochs = 60  # that are run
    config.train.schedule_epochs = 100  # over which the cosine is laid out
    config.train.warmup_epochs = 5
    config.train.tia_rate = 2e-4
    config.train.head_rate = 1e-4
    config.train.backbone_rate = 1e-5  # where model.adaptation is full
    config.train.weight_decay = 0.05
    config.train.clip_norm = 1.0
    config.train.ema = 0.999
    config.train.regression_weight = 1.0
    config.train.label_smoothing = 0.0
    config.train.all_candidates = False  # every candidate segment gives its class to a point
    config.train.normalizer_start = 100.0
    config.train.release_gpus = 2  # R, devices of the published run: its loss normaliser and epoch length follow them
    config.train.checkpoint_every = 2  # epochs
    config.train.checkpoint_steps = 0  # steps between checkpoints inside an epoch; 0: none there
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
    config.test.classifier = ""  # JSON file of video-level class scores, which give class-agnostic detections labels
    config.test.classifier_topk = 2  # best classes of a video that are used
    config.test.classifier_sqrt = False  # a score is sqrt(detection * class), not their product
    config.test.rounded = True  # seconds to 2 and scores to 4 decimals before NMS, as the release
    return config.lock()


def open_fields(config: ConfigDict) -> tuple[str, ...]:
    """The fields that `data.propose` is to fill."""
    if not config.propose:
        return ()
    pairs = (field.split(".") for field in PROPOSED)
    return tuple(f"{section}.{name}" for section, name in pairs if config[section][name] in (0, ()))


def flatten(config: ConfigDict, prefix: str = "") -> dict[str, object]:
    """Dotted field -> value of every leaf."""
    leaves: dict[str, object] = {}
    for name, value in config.items():
        leaves |= flatten(value, f"{prefix}{name}.") if isinstance(value, ConfigDict) else {f"{prefix}{name}": value}
    return leaves


def regression_ranges(levels: int, overlapping: bool = False) -> tuple[tuple[int, int], ...]:
    """The range of distances each level regresses, grid positions: up to 4, doubled from level to level.

    With `overlapping` a level starts at half the end of the one below, else where that ends.
    """
    ends = [4 * 2**level for level in range(levels - 1)]
    starts = [end // 2 if overlapping else end for end in ends]
    return tuple(zip([0, *starts], [*ends, 10000], strict=True))


def take_open_fields(config: ConfigDict, run: ConfigDict) -> ConfigDict:
    """The configuration with its open fields as in the whole configuration of a run."""
    missing, config = open_fields(config), config.copy_and_resolve_references()
    config.update_from_flattened_dict({field: get_field(run, field) for field in missing})
    config.propose = False
    return config


def get_field(config: ConfigDict, field: str) -> Any:
    section, name = field.split(".")
    return config[section][name]
