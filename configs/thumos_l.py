"""AdaTAD with VideoMAE-L on THUMOS-14, 768 frames at 160 pixels.

    python -m adatad_jax.train --config configs/thumos_l.py

Expected: 73.51 average mAP over tIoU 0.3:0.1:0.7, the published figure (2 GPUs).

Files, from the folder the command runs in (it says where to get what is missing):

    data/thumos14/videos/              video_validation_0000051.mp4, ..., video_test_0001558.mp4
    data/thumos14/thumos_14_anno.json  200 `training` and 211 `validation` videos
    data/thumos14/category_idx.txt     the 20 classes, one per line
    pretrained/vit-large-p16_videomae-k400-pre_16x4x1_kinetics-400_20221013-229dbb03.pth
"""

from ml_collections import ConfigDict

from adatad_jax.config import recipes


def get_config() -> ConfigDict:
    config = recipes.thumos(size="L")
    config.published = 73.51
    return config
