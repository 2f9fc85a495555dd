"""A frozen VideoMAE-H on THUMOS-14, 768 frames at 160 pixels: no adapters, only the detector is trained.

    python -m adatad_jax.train --config configs/thumos_h_frozen.py

Expected: no figure was published for this run (2 GPUs).

Files, from the folder the command runs in (it says where to get what is missing):

    data/thumos14/videos/              video_validation_0000051.mp4, ..., video_test_0001558.mp4
    data/thumos14/thumos_14_anno.json  200 `training` and 211 `validation` videos
    data/thumos14/category_idx.txt     the 20 classes, one per line
    pretrained/vit-huge-p16_videomae-k400-pre_16x4x1_kinetics-400_my.pth
"""

from ml_collections import ConfigDict

from adatad_jax.config import recipes


def get_config() -> ConfigDict:
    return recipes.thumos(size="H", adaptation="frozen")
