"""AdaTAD with VideoMAEv2-g on Multi-THUMOS, 768 frames at 160 pixels.

    python -m adatad_jax.train --config configs/multithumos_g.py

Expected: 46.74 average mAP over tIoU 0.1:0.1:0.9, the published figure (2 GPUs).

Files, from the folder the command runs in (it says where to get what is missing):

    data/thumos14/videos/                   video_validation_0000051.mp4, ..., video_test_0001558.mp4
    data/multithumos/multithumos_anno.json  subsets `training` and `validation`
    data/multithumos/category_idx.txt       the 65 classes, one per line
    pretrained/vit-giant-p14_videomaev2-hybrid_pt_1200e_k710_ft_my.pth
"""

from ml_collections import ConfigDict

from adatad_jax.config import recipes


def get_config() -> ConfigDict:
    config = recipes.multithumos(size="g")
    config.published = 46.74
    return config
