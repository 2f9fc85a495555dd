"""AdaTAD with VideoMAEv2-g on THUMOS-14, 1536 frames at 224 pixels.

    python -m adatad_jax.train --config configs/thumos_g_1536_224.py

Expected: 77.07 average mAP over tIoU 0.3:0.1:0.7, the published figure (2 GPUs).

Files, from the folder the command runs in (it says where to get what is missing):

    data/thumos14/videos/              video_validation_0000051.mp4, ..., video_test_0001558.mp4
    data/thumos14/thumos_14_anno.json  200 `training` and 211 `validation` videos
    data/thumos14/category_idx.txt     the 20 classes, one per line
    pretrained/vit-giant-p14_videomaev2-hybrid_pt_1200e_k710_ft_my.pth
"""

from ml_collections import ConfigDict

from adatad_jax.config import recipes


def get_config() -> ConfigDict:
    config = recipes.thumos(size="g", crop=224)
    config.published = 77.07
    config.data.frames_per_position = 2
    config.model.tia_blocks = "20-39"
    config.train.epochs = 50
    config.train.tia_rate = 2e-4
    config.train.eval_from = 38
    return config
