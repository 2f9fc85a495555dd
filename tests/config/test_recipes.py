"""The configurations of the 51 published runs against the table of their hyper-parameters.

`tests/published_runs.json` holds the table, in the names of the PyTorch release. Every field of it is compared with
what our configuration says, or is listed in `SAME_EVERYWHERE` or `NOT_OURS`.
"""

import functools
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from adatad_jax.config.build import make_detector, make_loss, make_model, make_post_processing, make_vit
from adatad_jax.config.fields import Config
from adatad_jax.config.load import load_config
from adatad_jax.config.recipes import with_backbone
from adatad_jax.errors import UserError
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.models.sizes import DetectorConfig, ViTConfig
from adatad_jax.training.evaluating import is_evaluated
from adatad_jax.training.optimizer import make_optimizer_config
from adatad_jax.weights.load import published_configs

CONFIGS = Path(__file__).parents[2] / "configs"
TABLE: dict[str, dict[str, Any]] = json.loads((Path(__file__).parents[1] / "published_runs.json").read_text())

# Release name -> our file, and the published average mAP in percent (0: none published).
RUNS = {
    "thumos/e2e_thumos_videomae_s_768x1_160_adapter": ("thumos_s", 69.03),
    "thumos/e2e_thumos_videomae_b_768x1_160_adapter": ("thumos_b", 71.14),
    "thumos/e2e_thumos_videomae_l_768x1_160_adapter": ("thumos_l", 73.51),
    "thumos/e2e_thumos_videomae_h_768x1_160_adapter": ("thumos_h", 74.95),
    "thumos/e2e_thumos_videomaev2_g_768x1_160_adapter": ("thumos_g", 75.06),
    "thumos/e2e_thumos_videomaev2_g_768x2_224_adapter": ("thumos_g_1536_224", 77.07),
    "thumos/e2e_thumos_videomaev2_g_768x2_224_side_2e-4": ("thumos_g_1536_224_side", 74.65),
    "thumos/e2e_thumos_videomae_s_768x1_160_side": ("thumos_s_side", 0),
    "thumos/e2e_thumos_videomae_s_768x1_160_frozen": ("thumos_s_frozen", 0),
    "thumos/e2e_thumos_videomae_b_768x1_160_frozen": ("thumos_b_frozen", 0),
    "thumos/e2e_thumos_videomae_l_768x1_160_frozen": ("thumos_l_frozen", 0),
    "thumos/e2e_thumos_videomae_h_768x1_160_frozen": ("thumos_h_frozen", 0),
    "thumos/e2e_thumos_videomaev2_g_768x1_160_frozen": ("thumos_g_frozen", 0),
    "thumos/e2e_thumos_videomae_s_768x1_160_fullft": ("thumos_s_full", 0),
    "thumos/e2e_thumos_videomae_b_768x1_160_fullft": ("thumos_b_full", 0),
    "thumos/e2e_thumos_videomae_l_768x1_160_fullft": ("thumos_l_full", 0),
    "thumos/e2e_thumos_videomae_h_768x1_160_fullft": ("thumos_h_full", 0),
    "thumos/e2e_thumos_videomaev2_g_768x1_160_fullft": ("thumos_g_full", 0),
    "multi_thumos/e2e_multithumos_videomae_s_768x1_160_adapter": ("multithumos_s", 40.77),
    "multi_thumos/e2e_multithumos_videomae_b_768x1_160_adapter": ("multithumos_b", 42.76),
    "multi_thumos/e2e_multithumos_videomae_l_768x1_160_adapter": ("multithumos_l", 45.15),
    "multi_thumos/e2e_multithumos_videomae_h_768x1_160_adapter": ("multithumos_h", 46.02),
    "multi_thumos/e2e_multithumos_videomaev2_g_768x1_160_adapter": ("multithumos_g", 46.74),
    "multi_thumos/e2e_multithumos_videomaev2_g_768x2_224_adapter": ("multithumos_g_1536_224", 48.73),
    "charades/e2e_charades_videomae_s_512x1_160_adapter": ("charades_s", 24.14),
    "charades/e2e_charades_videomae_b_512x1_160_adapter": ("charades_b", 27.99),
    "charades/e2e_charades_videomae_l_512x1_160_adapter": ("charades_l", 32.31),
    "charades/e2e_charades_videomae_h_512x1_160_adapter": ("charades_h", 33.94),
    "charades/e2e_charades_videomaev2_g_512x1_160_adapter": ("charades_g", 37.56),
    "anet/e2e_anet_videomae_s_192x4_160_adapter": ("activitynet_s", 37.81),
    "anet/e2e_anet_videomae_b_192x4_160_adapter": ("activitynet_b", 38.35),
    "anet/e2e_anet_videomae_l_192x4_160_adapter": ("activitynet_l", 39.21),
    "anet/e2e_anet_videomae_h_192x4_160_adapter": ("activitynet_h", 39.31),
    "anet/e2e_anet_videomaev2_g_192x4_160_adapter": ("activitynet_g", 39.77),
    "anet/e2e_anet_videomaev2_g_192x4_224_adapter": ("activitynet_g_224", 39.86),
    "anet/e2e_anet_videomaev2_g_192x4_224_adapter_internvideo": ("activitynet_g_224_internvideo", 41.85),
    "anet/e2e_anet_videomaev2_g_192x4_224_adapter_internvideo2": ("activitynet_g_224_internvideo2", 42.90),
    "anet/e2e_anet_videomae_l_192x4_224_adapter_cls": ("activitynet_l_224_200classes", 39.15),
    "anet/e2e_anet_videomae_s_192x4_160_frozen": ("activitynet_s_frozen", 0),
    "anet/e2e_anet_videomae_b_192x4_160_frozen": ("activitynet_b_frozen", 0),
    "anet/e2e_anet_videomae_l_192x4_160_frozen": ("activitynet_l_frozen", 0),
    "anet/e2e_anet_videomae_h_192x4_160_frozen": ("activitynet_h_frozen", 0),
    "anet/e2e_anet_videomaev2_g_192x4_160_frozen": ("activitynet_g_frozen", 0),
    "anet/e2e_anet_videomae_s_192x4_160_fullft": ("activitynet_s_full", 0),
    "anet/e2e_anet_videomae_b_192x4_160_fullft": ("activitynet_b_full", 0),
    "anet/e2e_anet_videomae_l_192x4_160_fullft": ("activitynet_l_full", 0),
    "anet/e2e_anet_videomae_h_192x4_160_fullft": ("activitynet_h_full", 0),
    "anet/e2e_anet_videomaev2_g_192x4_160_fullft": ("activitynet_g_full", 0),
    "epic/e2e_epic_videomae_l_ft_768x8_160_adapter_noun": ("epic_noun_l", 29.44),
    "epic/e2e_epic_videomae_l_ft_768x8_160_adapter_verb": ("epic_verb_l", 29.69),
    "ego4d/e2e_ego4d_internvideo_1800x4_192_adapter_lr4e-4": ("ego4d_l", 28.41),
}

# Fields with one value in all runs that are not fields of ours, because the code works only this way.
SAME_EVERYWHERE = {
    "ema": True,
    "head.center_sample": "radius",
    "head.center_sample_radius": 1.5,
    "head.cls_prior_prob": 0.01,
    "head.loss.cls_loss.type": "FocalLoss",
    "head.loss.reg_loss.type": "DIOULoss",
    "head.loss_normalizer_momentum": 0.9,
    "head.prior_generator.type": "PointGenerator",
    "neck.type": "FPNIdentity",  # a norm per level
    "optimizer.paramwise": True,  # no decay of the detector's biases, norms and scales
    "optimizer.type": "AdamW",
    "post_processing.save_dict": False,
    "projection.conv_cfg.kernel_size": 3,
    "projection.norm_cfg.type": "LN",
    "schedule.type": "LinearWarmupCosineAnnealingLR",
    "temporal_checkpointing": None,
}
NOT_OURS = {
    "release_config": "the release's file",
    "norm_eval": "layer norms have no other mode",
    "optimizer.backbone.exclude": "how the release keeps frozen tensors out of its optimiser; ours holds no frozen one",
    "sample_stride": "1 in every run (absent where the sampling is resize): data.stride is the stride of both grids",
}

# What an absent or null field means in the release.
RELEASE_DEFAULTS = {
    "vit.drop_path_rate": 0.0,
    "projection.input_pdrop": 0.0,
    "head.filter_similar_gt": True,
    "head.loss_weight": 1.0,
    "optimizer.backbone.lr": 0.0,  # the backbone is frozen
    "optimizer.backbone.weight_decay": 0.0,
    "post_processing.pre_nms_thresh": 0.001,
    "post_processing.pre_nms_topk": 2000,
    "post_processing.nms.min_score": 0.0,
}

VIT_KINDS = {
    "tia": "VisionTransformerAdapter",
    "side": "VisionTransformerLadder",
    "frozen": "VisionTransformerCP",
    "full": "VisionTransformerCP",
}
# The release's data set classes differ in how seconds become frames: (sampling, a fixed frame rate).
DATASET_KINDS = {
    "ThumosPaddingDataset": ("windows", False),
    "Ego4DPaddingDataset": ("windows", False),
    "EpicKitchensPaddingDataset": ("windows", True),
    "AnetResizeDataset": ("resize", False),
}
CLASSIFIER_KINDS = {"CUHKANETClassifier": False, "StandardClassifier": True, None: None}  # whether a root is taken


def flatten(entry: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in entry.items():
        leaves |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return leaves


# What a step keeps in memory is chosen for the device (`model.memory`), and changes nothing that is learned.
FIELDS = sorted(set().union(*(flatten(entry) for entry in TABLE.values())) - {"activation_checkpointing"})


DOCSTRINGS = {path.stem: path.read_text().split('"""')[1] for path in published_configs()}


@functools.cache
def load(name: str) -> Config:
    return load_config(CONFIGS / f"{name}.py")


def published(entry: dict[str, Any]) -> dict[str, Any]:
    """Returns every field of the table in comparable form, with the release's defaults for absent or null fields."""
    found = {field: flatten(entry).get(field) for field in FIELDS}
    found |= {field: default for field, default in RELEASE_DEFAULTS.items() if found[field] is None}
    windows = found["projection.attn_cfg.n_mha_win_size"]
    levels = found["neck.num_levels"]
    found["projection.attn_cfg.n_mha_win_size"] = [
        None if window == -1 else window for window in (windows if isinstance(windows, list) else [windows] * levels)
    ]
    if found["frames_total"] is None:  # only the adapter has to know it
        found["frames_total"] = found["positions_train"] * found["frames_per_position"]
    found["dataset_kind"] = DATASET_KINDS[found["dataset_kind"]]
    found["post_processing.external_cls.type"] = CLASSIFIER_KINDS[found["post_processing.external_cls.type"]]
    if found["post_processing.external_cls.path"]:
        found["post_processing.external_cls.path"] = Path(found["post_processing.external_cls.path"]).name
    return found


def first_evaluation(from_epoch: int, every: int) -> int:
    """Returns the first epoch, counted from 1, after which the release evaluates.

    The release evaluates after epoch e, counted from 0, if e >= from_epoch and e + 1 is a multiple of `every`.
    """
    return next(epoch for epoch in range(from_epoch + 1, from_epoch + 1 + every) if epoch % every == 0)


def ours(name: str) -> dict[str, Any]:
    """Returns the values of one of our configurations under the names of the table."""
    config = load(name)
    data, model, train_, test = config.data, config.model, config.train, config.test
    vit, detector = make_vit(config.model), make_detector(config, classes=1)
    optimizer, loss, post = make_optimizer_config(config, 10), make_loss(config.train), make_post_processing(config)
    resize = data.sampling == "resize"
    has_tia = model.adaptation in ("tia", "side")
    scale, crop = [-1, data.train_short_side], [data.crop, data.crop]
    augmentations = {
        "RandomResizedCrop": data.random_resized_crop,
        "CenterCrop": not data.random_resized_crop,
        "Flip": data.flip == 0.5,
        "ImgAug": data.rand_augment,
        "ColorJitter": data.color_jitter,
    }
    assert data.test_short_side == data.crop
    assert data.flip in (0, 0.5)
    assert post.sliding_window != resize
    return {
        "vit.embed_dims": vit.width,
        "vit.depth": vit.depth,
        "vit.num_heads": vit.heads,
        "vit.mlp_ratio": vit.mlp_hidden / vit.width,
        "vit.patch_size": vit.patch,
        "vit.drop_path_rate": vit.drop_path,
        "vit_kind": VIT_KINDS[model.adaptation],
        "tia_blocks": list(vit.tia_blocks) or None,
        "tia_hidden_ratio": vit.tia_hidden / vit.width if has_tia else model.tia_ratio,
        "checkpoint": Path(config.weights).name,
        "freeze_backbone": model.adaptation == "frozen",
        "frames_total": data.window * data.frames_per_position,
        "frames_per_position": data.frames_per_position,
        "sampling_train": {"windows": "random_trunc", "resize": "resize"}[data.sampling],
        "positions_train": data.window,
        "trunc_thresh": None if resize else data.trunc_thresh,
        "crop_ratio": None if resize else list(data.crop_ratio),
        "short_side_train": [scale, crop] if data.random_resized_crop else [scale],
        "short_side_test": [[-1, data.test_short_side]],
        "augment": [name for name, used in augmentations.items() if used],
        "feature_stride": None if resize else data.stride,
        "annotation_fps": data.fps or None,
        "filter_gt": data.filter_gt,
        "class_agnostic": data.class_agnostic,
        "window_test": data.window,
        "overlap_test": None if resize else data.overlap,
        "subset_train": data.train_subset,
        "subset_test": data.test_subset,
        "dataset_kind": (data.sampling, data.fps > 0),
        "video_prefix": data.video_prefix,
        "projection.in_channels": vit.width,
        "projection.out_channels": detector.width,
        "projection.arch": [detector.embed, detector.stem, detector.branch],
        "projection.conv_cfg.proj_pdrop": detector.dropout,
        "projection.attn_cfg.n_head": detector.heads,
        "projection.attn_cfg.n_mha_win_size": list(detector.windows),
        "projection.path_pdrop": detector.drop_path,
        "projection.use_abs_pe": detector.absolute_positions,
        "projection.max_seq_len": detector.max_length,
        "projection.input_pdrop": detector.input_dropout,
        "neck.in_channels": detector.width,
        "neck.out_channels": detector.width,
        "neck.num_levels": detector.branch + 1,
        "head.in_channels": detector.width,
        "head.feat_channels": detector.width,
        "head.num_convs": detector.head_convs,
        "head.num_classes": 1 if data.class_agnostic else data.class_count,
        "head.prior_generator.strides": list(detector.strides),
        "head.prior_generator.regression_range": [list(pair) for pair in detector.regression_ranges],
        "head.loss_normalizer": loss.normalizer_start,
        "head.label_smoothing": loss.label_smoothing,
        "head.loss_weight": loss.regression_weight,
        "head.filter_similar_gt": not loss.all_candidates,
        "gpus": loss.release_gpus,
        "batch_size_total": train_.batch_size,
        "clip_grad_norm": optimizer.clip_norm,
        "amp": model.dtype == "bfloat16",
        "optimizer.lr": optimizer.head_rate,
        "optimizer.weight_decay": optimizer.weight_decay,
        "optimizer.backbone.lr": optimizer.backbone_rate,
        "optimizer.backbone.weight_decay": optimizer.weight_decay if optimizer.backbone_rate else 0.0,
        "optimizer.backbone.custom": [
            {"name": "adapter", "lr": optimizer.tia_rate, "weight_decay": optimizer.weight_decay}
        ]
        if has_tia
        else None,
        "schedule.warmup_epoch": optimizer.warmup_steps / 10,
        "schedule.max_epoch": optimizer.schedule_steps / 10,
        "end_epoch": optimizer.steps / 10,
        "eval_every": train_.eval_every,
        "checkpoint_every": train_.checkpoint_every,
        "post_processing.pre_nms_thresh": post.pre_nms_thresh,
        "post_processing.pre_nms_topk": post.pre_nms_topk,
        "post_processing.nms.use_soft_nms": post.nms.use_soft_nms,
        "post_processing.nms.sigma": post.nms.sigma,
        "post_processing.nms.max_seg_num": post.nms.max_seg_num,
        "post_processing.nms.min_score": post.nms.min_score,
        "post_processing.nms.multiclass": post.nms.multiclass,
        "post_processing.nms.voting_thresh": post.nms.voting_thresh,
        "post_processing.external_cls.path": Path(test.classifier).name if test.classifier else None,
        "post_processing.external_cls.type": test.classifier_sqrt if test.classifier else None,
        "post_processing.external_cls.topk": test.classifier_topk if test.classifier else None,
        "tiou": list(test.tious),
        "eval_subset": data.test_subset,
    }


@pytest.mark.parametrize("run", sorted(TABLE))
def test_a_run_is_the_published_one(run: str) -> None:
    name, _ = RUNS[run]
    config, expected = load(name), published(TABLE[run])
    differences = {
        field: f"ours {value!r}, published {expected[field]!r}"
        for field, value in ours(name).items()
        if value != expected[field]
    }
    assert not differences

    epochs = range(1, config.train.epochs + 1)
    evaluated = [epoch for epoch in epochs if is_evaluated(epoch, config.train)]
    first, every = first_evaluation(expected["eval_from_epoch"], expected["eval_every"]), expected["eval_every"]
    assert evaluated[0] == first
    assert set(evaluated) == set(range(first, config.train.epochs + 1, every)) | {config.train.epochs}

    assert config.data.ignore_labels == (("Ambiguous",) if run.startswith("thumos/") else ())
    assert config.weights_from
    assert config.data.come_from


def test_no_field_of_the_table_is_left_out() -> None:
    compared = set(ours("thumos_s")) | {"eval_from_epoch"}
    assert set(FIELDS) == compared | set(SAME_EVERYWHERE) | set(NOT_OURS)
    assert not compared & (set(SAME_EVERYWHERE) | set(NOT_OURS))
    for field, value in SAME_EVERYWHERE.items():
        assert [flatten(entry)[field] for entry in TABLE.values()] == [value] * len(TABLE), field
    assert {flatten(entry)["sample_stride"] for entry in TABLE.values()} == {1, None}


def test_every_run_has_its_file_and_every_file_its_run() -> None:
    assert sorted(RUNS) == sorted(TABLE)
    assert sorted(name for name, _ in RUNS.values()) == sorted(set(DOCSTRINGS) - {"demo", "custom"})
    assert len(RUNS) == 51


def test_the_first_evaluation_of_thumos_follows_the_42nd_epoch() -> None:
    assert first_evaluation(40, 2) == 42
    assert first_evaluation(39, 5) == 40
    assert first_evaluation(8, 1) == 9


@pytest.mark.parametrize(("name", "mean_ap"), RUNS.values(), ids=[name for name, _ in RUNS.values()])
def test_the_docstring_names_command_figure_and_files(name: str, mean_ap: float) -> None:
    config, text = load(name), DOCSTRINGS[name]
    assert f"\n    python -m adatad_jax.train --config configs/{name}.py\n" in text
    assert config.published == mean_ap
    figure = f"Expected: {mean_ap:.2f} average mAP" if mean_ap else "Expected: no figure was published"
    tious = config.test.tious
    assert f"\n{figure}" in text
    assert not mean_ap or f"tIoU {tious[0]}:{round(tious[1] - tious[0], 2)}:{tious[-1]}," in text
    assert f"({config.train.release_gpus} GPUs)" in text
    data = config.data
    paths = [f"{data.videos}/", data.annotations, data.classes, config.test.classifier, config.weights]
    named = re.findall(r"^    ((?:data|pretrained)/\S+)", text, re.MULTILINE)
    assert named == [path for path in paths if path]
    assert f"{config.model.size}" in text.split("\n")[0]


def test_only_published_backbones_have_a_recipe() -> None:
    with pytest.raises(UserError, match=r"'XL'.*\bcrop=160\b.*\bS, B, L, H, g\b"):
        with_backbone("XL", "tia")
    with pytest.raises(UserError, match=r"\bcrop=200\b.*\b160, 192, 224\b"):
        with_backbone("S", "tia", crop=200)


# Parameter counts, worked out by hand from the dimensions.


def vit_parameters(width: int, depth: int, hidden: int, patch: int) -> int:
    """Counts a VideoMAE without classifier: positions are a fixed table, and `fc_norm` belongs to the classifier."""
    patch_embed = 2 * patch * patch * 3 * width + width
    attention = 3 * width * width + 2 * width + width * width + width  # qkv with biases of q and v; output
    mlp = width * hidden + hidden + hidden * width + width
    return patch_embed + depth * (2 * 2 * width + attention + mlp)


def tia_parameters(width: int, hidden: int, blocks: int) -> int:
    down, up, gamma = width * hidden + hidden, hidden * width + width, 1
    depthwise, pointwise = 3 * hidden + hidden, hidden * hidden + hidden
    return blocks * (down + depthwise + pointwise + up + gamma)


def projection_parameters(features: int, width: int, embed: int, blocks: int) -> int:
    norm = 2 * width
    embedding = 3 * width * (features + (embed - 1) * width) + embed * norm
    query_key_value = 3 * (3 * width + norm + width * width + width)  # depthwise, norm, 1x1
    output = width * width + width
    mlp = width * 4 * width + 4 * width + 4 * width * width + width
    scales = 2 * width
    return embedding + blocks * (2 * norm + query_key_value + output + mlp + scales)


def neck_parameters(width: int, levels: int) -> int:
    return levels * 2 * width


def head_parameters(width: int, convs: int, classes: int, levels: int) -> int:
    towers = 2 * convs * (3 * width * width + 2 * width)
    return towers + 3 * width * classes + classes + 3 * width * 2 + 2 + levels


@functools.cache
def counted(vit: ViTConfig, detector: DetectorConfig) -> dict[str, int]:
    """Counts a model's parameters by group, from the shapes of its traced initialisation."""
    model = AdaTAD(vit=vit, detector_config=detector)
    frames = jnp.zeros((1, 16, 2 * vit.patch, 2 * vit.patch, 3), jnp.uint8)
    shapes = jax.eval_shape(model.init, jax.random.key(0), frames, jnp.ones((1, 16), bool))["params"]
    counts: Counter[str] = Counter()
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes):
        names = [key.key for key in path]
        group = ("tia" if "tia" in names else "vit") if names[0] == "backbone" else names[1]
        counts[group] += leaf.size
    return dict(counts)


def expected_counts(entry: dict[str, Any]) -> dict[str, int]:
    vit, projection, head = entry["vit"], entry["projection"], entry["head"]
    width, features = projection["out_channels"], projection["in_channels"]
    embed, stem, branch = projection["arch"]
    mlp_hidden = int(vit["embed_dims"] * vit["mlp_ratio"] + 1e-6)
    tia_hidden = int(vit["embed_dims"] * entry["tia_hidden_ratio"])
    counts = {
        "vit": vit_parameters(vit["embed_dims"], vit["depth"], mlp_hidden, vit["patch_size"]),
        "tia": tia_parameters(vit["embed_dims"], tia_hidden, len(entry["tia_blocks"] or [])),
        "projection": projection_parameters(features, width, embed, stem + branch),
        "neck": neck_parameters(width, branch + 1),
        "head": head_parameters(width, head["num_convs"], head["num_classes"], branch + 1),
    }
    return {group: count for group, count in counts.items() if count}


@pytest.mark.parametrize("run", sorted(TABLE))
def test_parameter_counts_are_those_worked_out_by_hand(run: str) -> None:
    model = make_model(load(RUNS[run][0]), classes=TABLE[run]["head"]["num_classes"])
    assert counted(model.vit, model.detector_config) == expected_counts(TABLE[run])


def test_thumos_s_has_the_published_counts() -> None:
    """The published count of the ViT includes `fc_norm`, two tensors that no output depends on."""
    counts = expected_counts(TABLE["thumos/e2e_thumos_videomae_s_768x1_160_adapter"])
    assert counts["vit"] + 2 * 384 == 21_879_936
    assert counts["tia"] == 1_006_860
    assert (counts["projection"], counts["neck"], counts["head"]) == (23_505_920, 6_144, 3_183_644)
    assert counts["projection"] + counts["neck"] + counts["head"] == 26_695_708
    assert sum(counts.values()) + 2 * 384 == 49_582_504
