"""AdaTAD with VideoMAE-L on ActivityNet-1.3, 768 frames at 224 pixels, with its own 200-class head.

    python -m adatad_jax.train --config configs/activitynet_l_224_200classes.py

Expected: 39.15 average mAP over tIoU 0.5:0.05:0.95, the published figure (4 GPUs).

Files, from the folder the command runs in (it says where to get what is missing):

    data/activitynet/videos/                     v_NAME.mp4
    data/activitynet/activity_net.v1-3.min.json  less the videos of blocked.json: 4,728 in `validation`
    data/activitynet/category_idx.txt            the 200 classes, one per line
    pretrained/vit-large-p16_videomae-k400-pre_16x4x1_kinetics-400_20221013-229dbb03.pth
"""

from ml_collections import ConfigDict

from adatad_jax.config import recipes


def get_config() -> ConfigDict:
    config = recipes.activitynet(size="L", crop=224)
    config.published = 39.15
    config.data.class_agnostic = False
    config.data.classes = "data/activitynet/category_idx.txt"
    config.data.class_count = 200
    config.model.width = 512
    config.train.schedule_epochs = 20
    config.train.tia_rate = 8e-5
    config.train.regression_weight = 1.0
    config.train.eval_from = 11
    config.test.sigma = 0.75
    config.test.multiclass = True
    config.test.classifier = ""
    return config
