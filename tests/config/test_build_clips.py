"""Configurations of the trainings on clips: what they describe, and what is refused before any file is opened."""

import functools
from pathlib import Path
from typing import Any

import pytest

from adatad_jax.config.build_clips import (
    check_finetuning,
    check_pretraining,
    make_autoencoder,
    make_classifier,
    masked_patches,
)
from adatad_jax.config.clip_fields import FinetuningConfig, PretrainingConfig
from adatad_jax.config.load import load_record
from adatad_jax.errors import UserError

CONFIGS = Path(__file__).parents[2] / "configs"
load_pretraining = functools.partial(load_record, kind=PretrainingConfig, check=check_pretraining)
load_finetuning = functools.partial(load_record, kind=FinetuningConfig, check=check_finetuning)


def test_the_recipe_of_pretraining_is_the_published_one() -> None:
    """VideoMAE (arXiv 2203.12602), table of pre-training: 800 epochs, 40 of warm-up, 1.5e-4, beta2 0.95, ratio 0.9."""
    config = load_pretraining(CONFIGS / "pretrain_s.py", ())
    train = config.train
    assert (train.epochs, train.warmup_epochs, train.rate, train.beta2, train.weight_decay) == (
        800,
        40,
        1.5e-4,
        0.95,
        0.05,
    )
    assert masked_patches(config) == 176  # of 14 x 14
    model = make_autoencoder(config).config
    assert (model.encoder.width, model.encoder.depth, model.encoder.heads) == (384, 12, 6)
    assert (model.decoder.width, model.decoder.depth, model.decoder.heads) == (192, 4, 3)


def test_the_recipe_of_finetuning() -> None:
    config = load_finetuning(CONFIGS / "finetune_s.py", ())
    assert (config.train.layer_decay, config.train.label_smoothing, config.train.mixup) == (0.7, 0.1, True)
    model = make_classifier(config, classes=7).config
    assert (model.classes, model.mean_pooling, model.encoder.drop_path) == (7, True, 0.1)


@pytest.mark.parametrize(
    ("fields", "facts"),
    [
        ({"model.mask_ratio": 0.001}, ("0.001", "196", "nothing masked")),
        ({"model.mask_ratio": 1.0}, ("model.mask_ratio=1.0",)),
        ({"data.crop": 32, "model.mask_ratio": 0.2}, ("0.2", "4 patches", "nothing masked")),
        ({"data.crop": 8}, ("data.crop=8", "16")),
        ({"data.short_side": 200}, ("data.short_side=200", "data.crop=224")),
        ({"model.size": "g"}, ("model.size='g'", "decoder")),
        ({"model.size": "XL"}, ("model.size='XL'",)),
        ({"train.warmup_epochs": 800}, ("train.warmup_epochs=800", "below train.schedule_epochs=800")),
        ({"train.epochs": 900}, ("train.epochs=900", "at most train.schedule_epochs")),
        ({"train.accumulate": 3}, ("train.accumulate=3", "1, 2, 4, 8, 16, 32, 64")),
        ({"train.eval_every": 0}, ("train.eval_every=0",)),
    ],
)
def test_wrong_values_of_pretraining_are_named(fields: dict[str, Any], facts: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as error:
        check_pretraining(PretrainingConfig().with_fields(fields))
    for fact in facts:
        assert fact in str(error.value)


def test_all_wrong_values_are_listed_at_once() -> None:
    fields = {"train.layer_decay": 1.5, "train.rate": -1.0, "test.clips": 0}
    with pytest.raises(UserError) as error:
        check_finetuning(FinetuningConfig().with_fields(fields))
    for name in fields:
        assert f"config.{name}" in str(error.value)


def test_the_configuration_of_another_task_is_refused() -> None:
    with pytest.raises(UserError, match="no such field"):
        load_pretraining(CONFIGS / "thumos_s.py", ())
    with pytest.raises(UserError, match="no such field"):
        load_finetuning(CONFIGS / "pretrain_s.py", ())
