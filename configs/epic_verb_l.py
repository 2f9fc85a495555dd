"""AdaTAD with VideoMAE-L on the verbs of EPIC-Kitchens-100, 6144 frames at 160 pixels.

    python -m adatad_jax.train --config configs/epic_verb_l.py

Expected: 29.69 average mAP over tIoU 0.1:0.1:0.5, the published figure (2 GPUs).

Files, from the folder the command runs in (it says where to get what is missing):

    data/epic_kitchens/videos/                  NAME.mp4, at 30 frames per second
    data/epic_kitchens/epic_kitchens_verb.json  subsets `train` and `val`
    data/epic_kitchens/category_idx_verb.txt    the 97 classes (verbs), one per line
    pretrained/vit-large-p16_videomae-epic_verb.pth
"""

from ml_collections import ConfigDict

from adatad_jax.config import recipes


def get_config() -> ConfigDict:
    config = recipes.epic_kitchens(task="verb")
    config.published = 29.69
    return config
