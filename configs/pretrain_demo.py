"""Masked pre-training of the demo's backbone, without the labels of its clips: `make demo-weights` runs it.

Files: runs/demo_backbone/clips, written by `make demo-weights`.
"""

from ml_collections import ConfigDict

from adatad_jax.config.clip_fields import PretrainingConfig
from adatad_jax.config.records import defaults_of


def get_config() -> ConfigDict:
    config = defaults_of(PretrainingConfig)
    config.data.videos = "runs/demo_backbone/clips"
    config.data.stride = 2
    config.data.short_side = 48
    config.data.crop = 48
    config.data.in_memory = True
    config.data.threads = 2

    config.model.size = "tiny"
    # The sinusoids of an 80-pixel frame, resized to 48, nearly repeat from tubelet to tubelet: they tell places better.
    config.model.image_size = 80
    config.model.dtype = "float32"
    # Of 3 x 3 patches, 0.9 would leave one visible.
    config.model.mask_ratio = 0.5

    config.train.batch_size = 16
    config.train.epochs = 6
    config.train.schedule_epochs = 6
    config.train.warmup_epochs = 1
    config.train.rate = 3.2e-2
    config.train.end_rate = 3.2e-4
    config.train.checkpoint_every = 6
    config.train.keep_checkpoints = 1
    config.train.eval_every = 2
    return config
