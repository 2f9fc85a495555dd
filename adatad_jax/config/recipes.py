"""The published recipes: one function per data set returns the settings that its runs share.

A file in `configs/` adds the settings of a single run. All figures are those of the PyTorch release's configurations
(AdaTAD, arXiv 2311.17241). Paths are relative to the folder in which a command runs.
"""

from ml_collections import ConfigDict

from adatad_jax.config.fields import default
from adatad_jax.detection.points import regression_ranges
from adatad_jax.errors import UserError

# Size -> the VideoMAE file that the release starts from, and where to get this file.
BACKBONES = {
    "S": (
        "vit-small-p16_videomae-k400-pre_16x4x1_kinetics-400_my.pth",
        "the authors' Google Drive (VideoMAE-S, K400), linked from OpenTAD's AdaTAD page",
    ),
    "B": (
        "vit-base-p16_videomae-k400-pre_16x4x1_kinetics-400_20221013-860a3cd3.pth",
        "mmaction2's VideoMAE models (ViT-B, K400), linked from OpenTAD's AdaTAD page",
    ),
    "L": (
        "vit-large-p16_videomae-k400-pre_16x4x1_kinetics-400_20221013-229dbb03.pth",
        "mmaction2's VideoMAE models (ViT-L, K400), linked from OpenTAD's AdaTAD page",
    ),
    "H": (
        "vit-huge-p16_videomae-k400-pre_16x4x1_kinetics-400_my.pth",
        "the authors' Google Drive (VideoMAE-H, K400), linked from OpenTAD's AdaTAD page",
    ),
    "g": (
        "vit-giant-p14_videomaev2-hybrid_pt_1200e_k710_ft_my.pth",
        "VideoMAEv2's model zoo, by its request form (ViT-g, hybrid pre-training, K710)",
    ),
}
TRAIN_SHORT_SIDE = {160: 182, 192: 220, 224: 256}  # side of the crop -> short side of training frames, pixels
# Classifier of ActivityNet's videos -> its file of scores, and whether detections score the square root of the product.
CLASSIFIERS = {
    "CUHK": ("cuhk_val_simp_7.json", False),
    "InternVideo": ("new_3ensemble_uniformerv2_large_only_global_anet_16x10x3.json", True),
    "InternVideo2": ("anet_UMTv2_6B_k710+K40_f16_frozenTuning.json_converted.json", True),
}
DENSE_TIOUS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def with_backbone(size: str, adaptation: str, crop: int = 160) -> ConfigDict:
    """Returns the defaults with a published backbone and the settings that its adaptation has on every data set.

    Args:
      size: size of the backbone: S, B, L, H or g.
      adaptation: tia, side (adapters beside the backbone), frozen or full (fine-tuning), as published.
      crop: side of the model's frames, in pixels: 160, 192 or 224.

    Raises:
      UserError: no run was published with that size or crop.
    """
    if size not in BACKBONES or crop not in TRAIN_SHORT_SIDE:
        raise UserError(
            f"size={size!r}, crop={crop!r}: the published sizes are {', '.join(BACKBONES)}, the published crops "
            f"{', '.join(map(str, TRAIN_SHORT_SIDE))}; for others start from adatad_jax.config.default()"
        )
    config = default()
    file, config.weights_from = BACKBONES[size]
    config.weights = f"pretrained/{file}"
    config.model.size = size
    config.model.adaptation = adaptation
    config.data.crop = crop
    config.data.train_short_side = TRAIN_SHORT_SIDE[crop]
    config.data.test_short_side = crop
    if adaptation == "frozen":  # nothing is random before the detector, so that features could be stored
        config.data.train_short_side = crop
        config.data.random_resized_crop = False
        config.data.flip = 0.0
        config.data.rand_augment = False
        config.data.color_jitter = False
    return config


def thumos(size: str, adaptation: str = "tia", crop: int = 160) -> ConfigDict:
    """Returns the recipe of THUMOS-14: 20 classes, windows of 768 positions."""
    config = with_backbone(size, adaptation, crop)
    config.data.videos = "data/thumos14/videos"
    config.data.annotations = "data/thumos14/thumos_14_anno.json"
    config.data.rate = 30.0
    config.data.classes = "data/thumos14/category_idx.txt"
    config.data.class_count = 20
    config.data.come_from = (
        "videos: the THUMOS-14 challenge; annotations, class list: OpenTAD's THUMOS-14 page (README.md)"
    )
    config.train.tia_rate = {"S": 2e-4, "B": 1e-4, "L": 1e-4, "H": 1e-4, "g": 1e-4}[size]
    config.train.eval_from = 42
    if adaptation == "side":
        config.model.input_dropout = 0.1
    if adaptation in ("frozen", "full"):
        config.train.eval_from = 40
        config.train.eval_every = 5
        config.train.checkpoint_every = 5
    if adaptation == "frozen":
        config.model.input_dropout = 0.2
        config.test.sigma = 0.5
        config.test.min_score = 0.001
    return config


def multithumos(size: str, crop: int = 160) -> ConfigDict:
    """Returns the recipe of Multi-THUMOS: 65 classes on the videos of THUMOS-14, many of them at once."""
    config = with_backbone(size, "tia", crop)
    config.data.videos = "data/thumos14/videos"
    config.data.annotations = "data/multithumos/multithumos_anno.json"
    config.data.rate = 30.0
    config.data.classes = "data/multithumos/category_idx.txt"
    config.data.class_count = 65
    config.data.come_from = "videos: the THUMOS-14 challenge; annotations, class list: OpenTAD's Multi-THUMOS page"
    config.data.ignore_labels = ()
    config.model.embed = 3
    config.model.stem = 0
    config.train.epochs = 80
    config.train.tia_rate = {"S": 4e-4, "B": 4e-4, "L": 4e-4, "H": 1e-4, "g": 1e-4}[size]
    config.train.eval_from = 50
    config.test.tious = DENSE_TIOUS
    config.test.pre_nms_topk = 8000
    config.test.sigma = 0.5
    config.test.max_seg_num = 8000
    return config


def charades(size: str) -> ConfigDict:
    """Returns the recipe of Charades: 157 classes, 8 pyramid levels over windows of 512 positions."""
    config = with_backbone(size, "tia")
    config.data.videos = "data/charades/videos"
    config.data.annotations = "data/charades/charades.json"
    config.data.rate = 30.0
    config.data.classes = "data/charades/category_idx.txt"
    config.data.class_count = 157
    config.data.come_from = (
        "videos: the Charades site (480 px), re-encoded at 30 frames per second; annotations, class list: OpenTAD's "
        "Charades page, which also links the re-encoded videos"
    )
    config.data.ignore_labels = ()
    config.data.test_subset = "testing"
    config.data.fps = 30.0
    config.data.window = 512
    config.data.trunc_thresh = 0.5
    config.model.branch = 7
    config.model.regression_ranges = regression_ranges(8)
    config.model.absolute_positions = True
    config.model.input_dropout = 0.3
    config.train.batch_size = 16
    config.train.epochs = 20
    config.train.schedule_epochs = 20
    config.train.tia_rate = {"S": 4e-4, "B": 4e-4, "L": 2e-4, "H": 1e-4, "g": 8e-5}[size]
    config.train.checkpoint_every = 1
    config.train.eval_from = 8
    config.train.eval_every = 1
    config.test.tious = DENSE_TIOUS
    config.test.sigma = 0.3
    config.test.max_seg_num = 1000
    return config


def activitynet(size: str, adaptation: str = "tia", crop: int = 160, classifier: str = "CUHK") -> ConfigDict:
    """Returns the recipe of ActivityNet-1.3: whole videos in 192 positions of 4 frames.

    The model has one class; the scores of a video classifier label its detections.

    Args:
      size: as for `with_backbone`.
      adaptation: as for `with_backbone`.
      crop: as for `with_backbone`.
      classifier: the classifier of videos: CUHK, InternVideo or InternVideo2.
    """
    config = with_backbone(size, adaptation, crop)
    config.data.videos = "data/activitynet/videos"
    config.data.video_prefix = "v_"
    config.data.annotations = "data/activitynet/activity_net.v1-3.min.json"
    config.data.come_from = (
        "videos: the ActivityNet site's request form (Anet_videos_15fps_short256); annotations, class list, scores of "
        "the classifiers: OpenTAD's ActivityNet page"
    )
    config.data.ignore_labels = ()
    config.data.class_agnostic = True
    config.data.sampling = "resize"
    config.data.window = 192
    config.data.frames_per_position = 4
    config.data.filter_gt = True
    config.model.width = 256
    config.model.absolute_positions = True
    if adaptation in ("frozen", "full"):
        config.model.input_dropout = 0.2
    config.train.batch_size = 16
    config.train.epochs = 15
    config.train.schedule_epochs = 15
    config.train.tia_rate = 1e-4
    config.train.head_rate = 1e-3
    config.train.regression_weight = 2.0
    config.train.label_smoothing = 0.1
    config.train.normalizer_start = 200.0
    config.train.release_gpus = 4
    config.train.checkpoint_every = 1
    config.train.eval_from = 9
    config.train.eval_every = 1
    config.test.tious = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    config.test.min_score = 0.001
    config.test.max_seg_num = 100
    config.test.multiclass = False
    config.test.voting_thresh = 0.9
    file, config.test.classifier_sqrt = CLASSIFIERS[classifier]
    config.test.classifier = f"data/activitynet/classifiers/{file}"
    return config


def epic_kitchens(task: str) -> ConfigDict:
    """Returns a recipe of EPIC-Kitchens-100: windows of 768 positions of 8 frames, a ViT-L tuned on nouns or verbs.

    Args:
      task: noun or verb.
    """
    config = with_backbone("L", "tia")
    config.weights = f"pretrained/vit-large-p16_videomae-epic_{task}.pth"
    config.weights_from = f"the authors' Google Drive (VideoMAE-L, EPIC {task}s), linked from OpenTAD's AdaTAD page"
    config.data.videos = "data/epic_kitchens/videos"
    config.data.annotations = f"data/epic_kitchens/epic_kitchens_{task}.json"
    config.data.rate = 30.0
    config.data.classes = f"data/epic_kitchens/category_idx_{task}.txt"
    config.data.class_count = {"noun": 293, "verb": 97}[task]
    config.data.come_from = (
        "videos: EPIC-Kitchens' download scripts, re-encoded at 30 frames per second (512x288); annotations, class "
        "list: OpenTAD's EPIC-Kitchens page"
    )
    config.data.ignore_labels = ()
    config.data.train_subset = "train"
    config.data.test_subset = "val"
    config.data.fps = 30.0
    config.data.stride = 16
    config.data.frames_per_position = 8
    config.data.filter_gt = True
    config.data.trunc_thresh = 0.3
    config.model.attention_windows = (9,)
    config.model.regression_ranges = regression_ranges(6, overlapping=True)
    config.model.input_dropout = 0.2
    config.train.epochs = 35
    config.train.schedule_epochs = 250
    config.train.tia_rate = 8e-5
    config.train.regression_weight = 0.5
    config.train.normalizer_start = 250.0
    config.train.eval_from = 20
    config.test.tious = (0.1, 0.2, 0.3, 0.4, 0.5)
    config.test.pre_nms_topk = 5000
    config.test.sigma = 0.4
    config.test.min_score = 0.001
    config.test.voting_thresh = 0.75
    return config


def ego4d() -> ConfigDict:
    """Returns the recipe of Ego4D moment queries: 110 classes, 10 pyramid levels.

    Windows are whole clips of up to 1800 positions of 4 frames.
    """
    config = with_backbone("L", "tia", crop=192)
    config.weights = "pretrained/vit-large-p16_videomae_k700_mq_ft_internvideo.pth"
    config.weights_from = "the authors' Google Drive (InternVideo1-MQ, ViT-L), linked from OpenTAD's AdaTAD page"
    config.data.videos = "data/ego4d/videos"
    config.data.annotations = "data/ego4d/ego4d_v2_220429.json"
    config.data.rate = 30.0
    config.data.classes = "data/ego4d/category_idx.txt"
    config.data.class_count = 110
    config.data.come_from = (
        "videos: the Ego4D site, cut into the moment-query clips (short side 320) with OpenTAD's Ego4D script; "
        "annotations, class list: OpenTAD's Ego4D page"
    )
    config.data.ignore_labels = ()
    config.data.train_subset = "train"
    config.data.test_subset = "val"
    config.data.stride = 8
    config.data.frames_per_position = 4
    config.data.window = 1800
    config.data.overlap = 0.0
    config.data.trunc_thresh = 0.3
    config.model.tia_blocks = "12-23"
    config.model.branch = 9
    config.model.attention_windows = (17, 17, 17, 17, 17, 17, 17, 0, 0, 0)
    config.model.max_length = 2048
    config.model.regression_ranges = regression_ranges(10, overlapping=True)
    config.model.absolute_positions = True
    config.model.dropout = 0.1
    config.model.input_dropout = 0.2
    config.train.epochs = 20
    config.train.schedule_epochs = 25
    config.train.tia_rate = 4e-4
    config.train.all_candidates = True
    config.train.checkpoint_every = 1
    config.train.eval_from = 13
    config.train.eval_every = 1
    config.test.tious = (0.1, 0.2, 0.3, 0.4, 0.5)
    config.test.pre_nms_topk = 5000
    config.test.sigma = 2.0
    config.test.min_score = 0.001
    config.test.voting_thresh = 0.95
    return config
