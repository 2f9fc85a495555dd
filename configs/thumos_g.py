"""AdaTAD with VideoMAEv2-g on THUMOS-14, 768 frames at 160 pixels.

    python -m adatad_jax.train --config configs/thumos_g.py

Expected: 75.06 average mAP over tIoU 0.3:0.1:0.7, the published figure (2 GPUs).

Files, from the folder the command runs in (it says where to get what is missing):

    data/thumos14/videos/              video_validation_0000051.mp4, ..., video_test_0001558.mp4
    data/thumos14/thumos_14_anno.json  200 `training` and 211 `validation` videos
    data/thumos14/category_idx.txt     the 20 classes, one per line
    pretrained/vit-giant-p14_videomaev2-hybrid_pt_1200e_k710_ft_my.pth
"""

from ml_collections import ConfigDict

from adatad_jax.config import recipes


def get_config() -> ConfigDict:
    config = recipes.thumos(size="g")
    config.published = 75.06
    return config
