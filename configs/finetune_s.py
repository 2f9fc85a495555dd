"""Fine-tuning of VideoMAE-S to classify clips, with labels from folders or a CSV (arXiv 2203.12602).

    python -m adatad_jax.finetune --config configs/finetune_s.py --config.data.videos=DIR \\
        --config.weights=runs/pretrain_s --workdir runs/finetune_s

The videos lie in a folder per label, DIR/LABEL/VIDEO.mp4; or --config.data.labels=FILE.csv lists them:

    video,label
    clip_0001.mp4,jump

The recipe is the published one of Kinetics-400 at size S, without repeated augmentation; the learning rate follows the
batch. From the result, a detector: --config.weights=runs/finetune_s; or look at it:

    python -m adatad_jax.classify --checkpoint runs/finetune_s VIDEO

Files: your videos, and what to start from.
"""

from ml_collections import ConfigDict

from adatad_jax.config.clip_fields import FinetuningConfig
from adatad_jax.config.records import defaults_of


def get_config() -> ConfigDict:
    config = defaults_of(FinetuningConfig)
    config.weights = "runs/pretrain_s"
    config.data.videos = "data/finetuning/videos"
    config.data.stride = 4
    config.model.size = "S"
    config.train.batch_size = 32
    config.train.epochs = 150
    config.train.schedule_epochs = 150
    config.train.warmup_epochs = 5
    config.train.layer_decay = 0.7
    return config
