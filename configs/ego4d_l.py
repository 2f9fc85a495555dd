"""AdaTAD with InternVideo1-MQ (ViT-L) on Ego4D moment queries, 7200 frames at 192 pixels.

    python -m adatad_jax.train --config configs/ego4d_l.py

Expected: 28.41 average mAP over tIoU 0.1:0.1:0.5, the published figure (2 GPUs).

Files, from the folder the command runs in (it says where to get what is missing):

    data/ego4d/videos/               NAME.mp4, the moment-query clips
    data/ego4d/ego4d_v2_220429.json  subsets `train` and `val`
    data/ego4d/category_idx.txt      the 110 classes, one per line
    pretrained/vit-large-p16_videomae_k700_mq_ft_internvideo.pth
"""

from ml_collections import ConfigDict

from adatad_jax.config import recipes


def get_config() -> ConfigDict:
    config = recipes.ego4d()
    config.published = 28.41
    return config
