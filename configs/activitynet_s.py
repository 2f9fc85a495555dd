"""AdaTAD with VideoMAE-S on ActivityNet-1.3, 768 frames at 160 pixels.

    python -m adatad_jax.train --config configs/activitynet_s.py

Expected: 37.81 average mAP over tIoU 0.5:0.05:0.95, the published figure (4 GPUs).

Files, from the folder the command runs in (it says where to get what is missing):

    data/activitynet/videos/                           v_NAME.mp4
    data/activitynet/activity_net.v1-3.min.json        less the videos of blocked.json: 4,728 in `validation`
    data/activitynet/classifiers/cuhk_val_simp_7.json  scores of the video classifier (CUHK)
    pretrained/vit-small-p16_videomae-k400-pre_16x4x1_kinetics-400_my.pth
"""

from ml_collections import ConfigDict

from adatad_jax.config import recipes


def get_config() -> ConfigDict:
    config = recipes.activitynet(size="S")
    config.published = 37.81
    return config
