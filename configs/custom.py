"""A detector of your own actions: a folder of videos, and a table or JSON file of segments.

The videos lie in one folder; my.csv names a segment a line, in seconds:

    video,start,end,label
    party.mp4,12.5,14.0,jump
    party.mp4,20,31.2,dance

From there to detections in new videos:

    python -m adatad_jax.train --config configs/custom.py --config.data.videos=DIR --config.data.annotations=my.csv
    python -m adatad_jax.evaluate --checkpoint runs/custom
    python -m adatad_jax.detect --workdir runs/custom --output found NEW.mp4

In place of the table, the files of labelling tools will do (README): BORIS, ELAN, VIA, Label Studio, CVAT and others.

Stride, window, regression ranges, batch and epochs are chosen for the data, and said; `--config.FIELD=VALUE` sets any
(adatad_jax/data/propose.py has the rules). Videos are split 80 to 20, unless the table has a column `subset`: then, as
for a JSON file, `--config.data.train_subset=NAME --config.data.test_subset=NAME` unless they are training and
validation.

Files: yours, and pretrained/vit-small-p16_videomae-k400-pre_16x4x1_kinetics-400_my.pth.
"""

from ml_collections import ConfigDict

from adatad_jax.config import recipes


def get_config() -> ConfigDict:
    config = recipes.with_backbone(size="S", adaptation="tia")
    config.data.come_from = "your own: set --config.data.videos=FOLDER and --config.data.annotations=FILE"
    config.data.ignore_labels = ()
    config.train.release_gpus = 1

    # Left open, for `adatad_jax.data.propose`.
    config.propose = True
    config.data.rate = 0.0
    config.data.stride = 0
    config.data.window = 0
    config.model.regression_ranges = ()
    config.train.batch_size = 0
    config.train.epochs = 0
    config.train.schedule_epochs = 0
    config.train.warmup_epochs = 0
    config.train.checkpoint_every = 0
    return config
