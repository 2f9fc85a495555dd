"""AdaTAD with VideoMAE-S on THUMOS-14, as published (CVPR 2024, "768x1, 160").

    python -m adatad_jax.train --config configs/thumos_s.py

Expected: 69.03 average mAP over tIoU 0.3:0.1:0.7, the published figure (2 GPUs); 83.90 79.01 72.38 61.57 48.27 each.

Files, from the folder the command runs in (it says where to get what is missing):

    data/thumos14/videos/              video_validation_0000051.mp4, ..., video_test_0001558.mp4
    data/thumos14/thumos_14_anno.json  200 `training` and 211 `validation` videos
    data/thumos14/category_idx.txt     the 20 classes, one per line
    pretrained/vit-small-p16_videomae-k400-pre_16x4x1_kinetics-400_my.pth

`README.md` says where each comes from.
"""

from ml_collections import ConfigDict

from adatad_jax.config import recipes


def get_config() -> ConfigDict:
    config = recipes.thumos(size="S", adaptation="tia")
    # The recipe has set what follows, too; repeated is what a run of your own changes first.
    config.published = 69.03
    config.weights = "pretrained/vit-small-p16_videomae-k400-pre_16x4x1_kinetics-400_my.pth"
    config.data.videos = "data/thumos14/videos"
    config.data.annotations = "data/thumos14/thumos_14_anno.json"
    config.data.classes = "data/thumos14/category_idx.txt"
    config.data.stride = 4
    config.data.window = 768
    config.train.batch_size = 2
    config.train.epochs = 60
    config.train.schedule_epochs = 100
    config.train.tia_rate = 2e-4
    config.train.head_rate = 1e-4
    config.train.eval_from = 42
    config.train.eval_every = 2
    config.test.tious = (0.3, 0.4, 0.5, 0.6, 0.7)
    return config
