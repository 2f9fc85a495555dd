"""AdaTAD with VideoMAE-L on the nouns of EPIC-Kitchens-100, 6144 frames at 160 pixels.

    python -m adatad_jax.train --config configs/epic_noun_l.py

Expected: 29.44 average mAP over tIoU 0.1:0.1:0.5, the published figure (2 GPUs).

Files, from the folder the command runs in (it says where to get what is missing):

    data/epic_kitchens/videos/                  NAME.mp4, at 30 frames per second
    data/epic_kitchens/epic_kitchens_noun.json  subsets `train` and `val`
    data/epic_kitchens/category_idx_noun.txt    the 293 classes (nouns), one per line
    pretrained/vit-large-p16_videomae-epic_noun.pth
"""

from ml_collections import ConfigDict

from adatad_jax.config import recipes


def get_config() -> ConfigDict:
    config = recipes.epic_kitchens(task="noun")
    config.published = 29.44
    config.train.label_smoothing = 0.1
    return config
