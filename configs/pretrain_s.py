"""Masked pre-training of VideoMAE-S on any folder of videos, without labels (arXiv 2203.12602).

    python -m adatad_jax.pretrain --config configs/pretrain_s.py --config.data.videos=DIR --workdir runs/pretrain_s

The recipe is the published one of Kinetics-400 but for the batch, which was 1024 on 64 GPUs: the learning rate follows
the batch. On few videos, start from a published encoder (--config.weights=FILE.pth; its decoder is used if it has one),
and take several clips per video and epoch (--config.data.clips).

From the result, a classifier (configs/finetune_s.py) or a detector: --config.weights=runs/pretrain_s.

Files: your videos.
"""

from ml_collections import ConfigDict

from adatad_jax.config.clip_fields import PretrainingConfig
from adatad_jax.config.records import defaults_of


def get_config() -> ConfigDict:
    config = defaults_of(PretrainingConfig)
    config.data.videos = "data/pretraining/videos"
    config.data.stride = 4
    config.model.size = "S"
    config.model.mask_ratio = 0.9
    config.train.batch_size = 64
    config.train.epochs = 800
    config.train.schedule_epochs = 800
    config.train.warmup_epochs = 40
    return config
