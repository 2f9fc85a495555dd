"""AdaTAD with VideoMAE-S on Charades, 512 frames at 160 pixels.

    python -m adatad_jax.train --config configs/charades_s.py

Expected: 24.14 average mAP over tIoU 0.1:0.1:0.9, the published figure (2 GPUs).

Files, from the folder the command runs in (it says where to get what is missing):

    data/charades/videos/           NAME.mp4, at 30 frames per second
    data/charades/charades.json     subsets `training` and `testing`
    data/charades/category_idx.txt  the 157 classes, one per line
    pretrained/vit-small-p16_videomae-k400-pre_16x4x1_kinetics-400_my.pth
"""

from ml_collections import ConfigDict

from adatad_jax.config import recipes


def get_config() -> ConfigDict:
    config = recipes.charades(size="S")
    config.published = 24.14
    return config
