"""AdaTAD with VideoMAE-B on ActivityNet-1.3, 768 frames at 160 pixels.

    python -m adatad_jax.train --config configs/activitynet_b.py

Expected: 38.35 average mAP over tIoU 0.5:0.05:0.95, the published figure (4 GPUs).

Files, from the folder the command runs in (it says where to get what is missing):

    data/activitynet/videos/                           v_NAME.mp4
    data/activitynet/activity_net.v1-3.min.json        less the videos of blocked.json: 4,728 in `validation`
    data/activitynet/classifiers/cuhk_val_simp_7.json  scores of the video classifier (CUHK)
    pretrained/vit-base-p16_videomae-k400-pre_16x4x1_kinetics-400_20221013-860a3cd3.pth
"""

from ml_collections import ConfigDict

from adatad_jax.config import recipes


def get_config() -> ConfigDict:
    config = recipes.activitynet(size="B")
    config.published = 38.35
    return config
