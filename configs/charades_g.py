"""AdaTAD with VideoMAEv2-g on Charades, 512 frames at 160 pixels.

    python -m adatad_jax.train --config configs/charades_g.py

Expected: 37.56 average mAP over tIoU 0.1:0.1:0.9, the published figure (4 GPUs).

Files, from the folder the command runs in (it says where to get what is missing):

    data/charades/videos/           NAME.mp4, at 30 frames per second
    data/charades/charades.json     subsets `training` and `testing`
    data/charades/category_idx.txt  the 157 classes, one per line
    pretrained/vit-giant-p14_videomaev2-hybrid_pt_1200e_k710_ft_my.pth
"""

from ml_collections import ConfigDict

from adatad_jax.config import recipes


def get_config() -> ConfigDict:
    config = recipes.charades(size="g")
    config.published = 37.56
    config.train.release_gpus = 4
    return config
