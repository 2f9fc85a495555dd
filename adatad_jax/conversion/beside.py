"""The decoder or the classifier beside a VideoMAE encoder, from the tensors that a conversion keeps with it."""

import dataclasses
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from adatad_jax.conversion.assembly import Tensors, assemble
from adatad_jax.conversion.layout import decoder_leaves, head_leaves
from adatad_jax.conversion.names import RENAMED, Layout, Naming, network_naming, with_biases
from adatad_jax.conversion.network_dimensions import (
    HEADS,
    head_eps,
    read_autoencoder_config,
    read_classifier_config,
)
from adatad_jax.conversion.networks import network_shapes
from adatad_jax.errors import UserError
from adatad_jax.models.autoencoder import MaskedAutoencoder
from adatad_jax.models.classifier import Classifier
from adatad_jax.models.layers import Params
from adatad_jax.models.sizes import AutoencoderConfig, ClassifierConfig, ViTConfig

DECODER = re.compile(r"(|.*?\.)(?:decoder\..+|encoder_to_decoder\.weight|mask_token)")
NORM = re.compile(r"(?:|.*\.)(?:layer)?norm\.(weight|bias)")
CLASSIFIER = ("fc_norm.", "cls_head.fc_cls.")


@dataclass(frozen=True)
class Beside:
    """What is known of the network around an encoder, and no tensor shows.

    Attributes:
      layout: in whose names the tensors beside the encoder are kept; those of a classifier have mmaction's.
      decoder_heads: attention heads of the decoder; None: not known.
      head_norm_eps: epsilon of the norm before the decoder's head, or the classifier's.
      classes: names of the classifier's outputs; None: not known.
      crop, stride: side of the clips that the classifier was trained on, pixels, and source frames from one of their
        frames to the next; None: not known.
    """

    layout: Layout
    decoder_heads: int | None
    head_norm_eps: float
    classes: tuple[str, ...] | None = None
    crop: int | None = None
    stride: int | None = None

    @classmethod
    def of_layout(cls, layout: Layout) -> "Beside":
        """Returns what is known of a file of a layout."""
        return cls(layout, None, head_eps(layout))

    @classmethod
    def of_record(cls, record: Mapping[str, Any], source: Path) -> "Beside":
        """Reads what `record` has written into a file or a folder; raises `UserError` if it is something else."""
        try:
            fields = dict(record["beside"])
            classes = fields.pop("classes")
            return cls(Layout(fields.pop("layout")), classes=classes and tuple(map(str, classes)), **fields)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{source}: its record of the network is not one that this version writes ({error}); export or "
                "convert it again"
            ) from error

    def record(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        return {**dataclasses.asdict(self), "layout": self.layout.value}


class DecoderBeside(NamedTuple):
    """A decoder beside an encoder.

    Attributes:
      config: dimensions of the whole autoencoder.
      heads: attention heads; None if they are not known, and `config` holds a placeholder.
      params: parameters of a `MaskedAutoencoder`, without `encoder`.
    """

    config: AutoencoderConfig
    heads: int | None
    params: Params


class ClassifierBeside(NamedTuple):
    """A classifier beside an encoder.

    Attributes:
      config: dimensions of the whole classifier.
      params: parameters of a `Classifier`, without `encoder`.
    """

    config: ClassifierConfig
    params: Params


def has_decoder(keys: Collection[str]) -> bool:
    """Tells whether there is a decoder among the tensors beside an encoder; it may lack some."""
    return any(DECODER.fullmatch(key) for key in keys)


def has_classifier(keys: Collection[str]) -> bool:
    """Tells whether there is a classifier among the tensors beside an encoder; it may lack some."""
    return any(key.startswith(CLASSIFIER[1]) for key in keys)


def read_norm(tensors: Tensors) -> Params | None:
    """Reads the LayerNorm after an encoder's last block; None if the tensors beside the encoder lack it."""
    found = {match[1]: key for key in tensors if not DECODER.fullmatch(key) and (match := NORM.fullmatch(key))}
    if found.keys() != {"weight", "bias"}:
        return None
    return {
        name: np.asarray(tensors[found[part]], np.float32) for name, part in (("scale", "weight"), ("bias", "bias"))
    }


def read_decoder(encoder: ViTConfig, tensors: Tensors, beside: Beside, source: Path) -> DecoderBeside | None:
    """Reads the decoder beside an encoder; None if there is none.

    Args:
      encoder: dimensions of the encoder.
      tensors: that were kept beside it (`ConvertedBackbone.unused`).
      beside: what is known of them.
      source: where they come from, for messages.

    Raises:
      UserError: tensors are missing, have a wrong shape or type, or are unknown; lists all of them.
    """
    own = {key: value for key, value in tensors.items() if DECODER.fullmatch(key)}
    outer = next((match[1] for key in own if (match := DECODER.fullmatch(key))), None)
    if outer is None:
        return None
    layout = beside.layout
    naming = network_naming(with_biases(Naming(layout, outer, RENAMED.get(layout, ())), own), outer)
    config = read_autoencoder_config(encoder, own, naming, source, beside.decoder_heads)
    config = dataclasses.replace(
        config, encoder_norm=read_norm(tensors) is not None, head_norm_eps=beside.head_norm_eps
    )
    shapes = network_shapes(MaskedAutoencoder(config))
    params, _ = assemble(decoder_leaves(config.decoder.depth), shapes, own, source, (), naming)
    return DecoderBeside(config, beside.decoder_heads or HEADS.get(config.decoder.width), params)


def read_head(encoder: ViTConfig, tensors: Tensors, beside: Beside, source: Path) -> ClassifierBeside | None:
    """Reads the classifier beside an encoder; None if there is none. Arguments and errors: see `read_decoder`."""
    if not has_classifier(tensors):
        return None
    own = {key: value for key, value in tensors.items() if key.startswith(CLASSIFIER)}
    config = read_classifier_config(encoder, own, Naming(Layout.MMACTION), source)
    config = dataclasses.replace(config, head_norm_eps=beside.head_norm_eps)
    shapes = network_shapes(Classifier(config))
    params, _ = assemble(head_leaves(config.mean_pooling), shapes, own, source)
    return ClassifierBeside(config, params)
