"""A frozen VideoMAE-L on ActivityNet-1.3, 768 frames at 160 pixels: no adapters, only the detector is trained.

    python -m adatad_jax.train --config configs/activitynet_l_frozen.py

Expected: no figure was published for this run (4 GPUs).

Files, from the folder the command runs in (it says where to get what is missing):

    data/activitynet/videos/                           v_NAME.mp4
    data/activitynet/activity_net.v1-3.min.json        less the videos of blocked.json: 4,728 in `validation`
    data/activitynet/classifiers/cuhk_val_simp_7.json  scores of the video classifier (CUHK)
    pretrained/vit-large-p16_videomae-k400-pre_16x4x1_kinetics-400_20221013-229dbb03.pth
"""

from ml_collections import ConfigDict

from adatad_jax.config import recipes


def get_config() -> ConfigDict:
    return recipes.activitynet(size="L", adaptation="frozen")
