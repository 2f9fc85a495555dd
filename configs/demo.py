"""A small detector on generated videos: `make demo` makes the data and the weights, trains, evaluates and detects.

    python -m adatad_jax.demo.run

Once that has run, the same training by hand:

    python -m adatad_jax.train --config configs/demo.py --workdir runs/demo_by_hand

Expected: mAP@0.5 of 85 to 95 on the test videos; benchmarks/RESULTS.md has what was measured on three seeds.
Files: all under runs/demo, written by the demo.
"""

from ml_collections import ConfigDict

from adatad_jax.config.fields import default


def get_config() -> ConfigDict:
    config = default()
    config.weights = "runs/demo/weights"
    config.weights_from = "make demo"
    config.data.videos = "runs/demo/data/videos"
    config.data.annotations = "runs/demo/data/annotations.json"
    config.data.classes = "runs/demo/data/classes.txt"
    config.data.come_from = "make demo"
    config.data.stride = 2
    config.data.window = 128
    config.data.train_short_side = 52
    config.data.test_short_side = 48
    config.data.crop = 48
    config.data.random_resized_crop = False
    config.data.rand_augment = False
    config.data.color_jitter = False
    config.data.in_memory = True
    config.data.threads = 2

    config.model.size = "tiny"
    config.model.image_size = 80
    config.model.dtype = "float32"
    config.model.backbone_drop_path = 0.0
    config.model.width = 64
    config.model.stem = 1
    config.model.branch = 4
    config.model.regression_ranges = ((0, 4), (4, 8), (8, 16), (16, 32), (32, 10000))

    config.train.batch_size = 4
    config.train.epochs = 50
    config.train.schedule_epochs = 50
    config.train.warmup_epochs = 3
    config.train.tia_rate = 1e-3
    config.train.head_rate = 1e-3
    config.train.release_gpus = 1
    config.train.checkpoint_every = 5
    config.train.keep_checkpoints = 2
    config.test.batch_size = 4
    return config
