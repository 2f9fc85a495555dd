"""Fine-tuning of the demo's backbone with the labels of its clips, after configs/pretrain_demo.py.

`make demo-weights` runs both.

Files: runs/demo_backbone/clips and runs/demo_backbone/pretraining, written by `make demo-weights`.
"""

from ml_collections import ConfigDict

from adatad_jax.config.clip_fields import FinetuningConfig
from adatad_jax.config.records import defaults_of


def get_config() -> ConfigDict:
    config = defaults_of(FinetuningConfig)
    config.weights = "runs/demo_backbone/pretraining"
    config.data.videos = "runs/demo_backbone/clips"
    config.data.stride = 2
    config.data.short_side = 48
    config.data.crop = 48
    config.data.in_memory = True
    config.data.threads = 2
    # A label is a place in the frame: a crop or a mirror would move the object, and two mixed clips have two.
    config.data.random_resized_crop = False
    config.data.rand_augment = False
    config.data.flip = 0.0
    config.data.color_jitter = False

    config.model.size = "tiny"
    config.model.image_size = 80
    config.model.dtype = "float32"
    config.model.drop_path = 0.0

    config.train.batch_size = 16
    config.train.epochs = 10
    config.train.schedule_epochs = 10
    config.train.warmup_epochs = 1
    config.train.rate = 4.8e-2
    config.train.end_rate = 4.8e-4
    config.train.layer_decay = 1.0
    config.train.mixup = False
    config.train.checkpoint_every = 5
    config.train.keep_checkpoints = 1
    config.train.eval_every = 5
    config.test.batch_size = 64
    config.test.clips = 1
    config.test.crops = 1
    return config
