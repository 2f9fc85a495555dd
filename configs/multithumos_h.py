"""AdaTAD with VideoMAE-H on Multi-THUMOS, 768 frames at 160 pixels.

    python -m adatad_jax.train --config configs/multithumos_h.py

Expected: 46.02 average mAP over tIoU 0.1:0.1:0.9, the published figure (2 GPUs).

Files, from the folder the command runs in (it says where to get what is missing):

    data/thumos14/videos/                   video_validation_0000051.mp4, ..., video_test_0001558.mp4
    data/multithumos/multithumos_anno.json  subsets `training` and `validation`
    data/multithumos/category_idx.txt       the 65 classes, one per line
    pretrained/vit-huge-p16_videomae-k400-pre_16x4x1_kinetics-400_my.pth
"""

from ml_collections import ConfigDict

from adatad_jax.config import recipes


def get_config() -> ConfigDict:
    config = recipes.multithumos(size="H")
    config.published = 46.02
    return config
