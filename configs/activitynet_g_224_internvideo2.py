"""AdaTAD with VideoMAEv2-g on ActivityNet-1.3, 768 frames at 224 pixels, labelled by InternVideo2.

    python -m adatad_jax.train --config configs/activitynet_g_224_internvideo2.py

Expected: 42.90 average mAP over tIoU 0.5:0.05:0.95, the published figure (8 GPUs).
It trains as activitynet_g_224.py does, whose checkpoint can be evaluated with this file.

Files, from the folder the command runs in (it says where to get what is missing):

    data/activitynet/videos/                     v_NAME.mp4
    data/activitynet/activity_net.v1-3.min.json  less the videos of blocked.json: 4,728 in `validation`
    data/activitynet/classifiers/anet_UMTv2_6B_k710+K40_f16_frozenTuning.json_converted.json
    pretrained/vit-giant-p14_videomaev2-hybrid_pt_1200e_k710_ft_my.pth
"""

from ml_collections import ConfigDict

from adatad_jax.config import recipes


def get_config() -> ConfigDict:
    config = recipes.activitynet(size="g", crop=224, classifier="InternVideo2")
    config.published = 42.9
    config.model.tia_blocks = "20-39"
    config.train.release_gpus = 8
    return config
