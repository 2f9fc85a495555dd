"""The models that the configurations of clip trainings describe, and the checks of these configurations."""

import dataclasses

import jax.numpy as jnp

from adatad_jax.config.clip_fields import (
    ClipsConfig,
    FinetuningConfig,
    FinetuningSteps,
    PretrainingConfig,
    PretrainingSteps,
)
from adatad_jax.config.rules import Rule, check, rules_on_steps, wrong_values
from adatad_jax.config.run_fields import EncoderConfig
from adatad_jax.errors import UserError
from adatad_jax.models.autoencoder import MaskedAutoencoder
from adatad_jax.models.classifier import Classifier
from adatad_jax.models.policy import MemoryPolicy
from adatad_jax.models.sizes import DECODERS, SIZES, AutoencoderConfig, ClassifierConfig, ViTConfig
from adatad_jax.pretraining.masking import masked_positions


def make_encoder(model: EncoderConfig, drop_path: float = 0.0) -> ViTConfig:
    """Returns the dimensions of the encoder, without adapters."""
    return dataclasses.replace(
        SIZES[model.size], image_size=model.image_size, norm_eps=model.norm_eps, drop_path=drop_path
    )


def make_autoencoder(config: PretrainingConfig) -> MaskedAutoencoder:
    """Makes the masked autoencoder, without parameters."""
    model = config.model
    decoder = dataclasses.replace(DECODERS[model.size], image_size=model.image_size, norm_eps=model.norm_eps)
    dimensions = AutoencoderConfig(make_encoder(model), decoder, head_norm_eps=model.norm_eps)
    return MaskedAutoencoder(dimensions, jnp.dtype(model.dtype), MemoryPolicy(remat=model.remat))


def make_classifier(config: FinetuningConfig, classes: int) -> Classifier:
    """Makes the classifier, without parameters; raises `UserError` for fewer than two classes."""
    model = config.model
    dimensions = ClassifierConfig(make_encoder(model, model.drop_path), classes, head_norm_eps=model.norm_eps)
    return Classifier(dimensions, jnp.dtype(model.dtype), MemoryPolicy(remat=model.remat))


def masked_patches(config: PretrainingConfig) -> int:
    """Returns how many patches of a frame are masked; raises `UserError` if nothing would be, or nothing visible."""
    side = config.data.crop // SIZES[config.model.size].patch
    try:
        return masked_positions(config.model.mask_ratio, side * side)
    except UserError as error:
        fields = f"config.model.mask_ratio={config.model.mask_ratio:g}, config.data.crop={config.data.crop}"
        raise UserError(f"{fields}: {error}") from None


def check_pretraining(config: PretrainingConfig) -> None:
    """Checks a configuration as far as possible before any file is opened.

    Raises:
      UserError: fields are invalid (all of them are listed), or nothing would be masked, or nothing visible.
    """
    has_decoder = Rule("model.size", config.model.size in DECODERS, f"one of {', '.join(DECODERS)}: it needs a decoder")
    check(
        config,
        wrong_values(config),
        [
            has_decoder,
            *_rules(config.data, config.model, config.train),
            *rules_on_steps(config.train),
        ],
    )
    masked_patches(config)


def check_finetuning(config: FinetuningConfig) -> None:
    """Checks a configuration as far as possible before any file is opened.

    Raises:
      UserError: fields are invalid; all of them are listed.
    """
    rules = _rules(config.data, config.model, config.train)
    check(config, wrong_values(config), [*rules, *rules_on_steps(config.train)])


def _rules(data: ClipsConfig, model: EncoderConfig, train: PretrainingSteps | FinetuningSteps) -> list[Rule]:
    """Lists the rules on several fields that both trainings have."""
    patch = SIZES[model.size].patch if model.size in SIZES else 1
    return [
        Rule("data.crop", data.crop >= patch, f"at least the encoder's patch of {patch} pixels"),
        Rule("data.short_side", data.short_side >= data.crop, f"at least data.crop={data.crop}"),
        Rule("model.image_size", model.image_size >= patch, f"at least the patch, {patch}"),
        Rule(
            "train.warmup_epochs",
            train.warmup_epochs < train.schedule_epochs,
            f"below train.schedule_epochs={train.schedule_epochs}",
        ),
        Rule("train.epochs", train.epochs <= train.schedule_epochs, "at most train.schedule_epochs"),
        Rule("train.end_rate", train.end_rate <= train.rate, f"at most train.rate={train.rate:g}"),
    ]
