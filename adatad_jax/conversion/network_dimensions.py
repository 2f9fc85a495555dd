"""The dimensions of a decoder or a classifier beside a VideoMAE encoder, read off the tensors that show them."""

import re
from pathlib import Path

from adatad_jax.conversion.assembly import Tensors
from adatad_jax.conversion.names import Layout, Naming
from adatad_jax.errors import UserError
from adatad_jax.models.sizes import DECODERS, NORM_EPS, AutoencoderConfig, ClassifierConfig, ViTConfig

PYTORCH_EPS = 1e-5  # of the norms that transformers makes without an epsilon of its own
HEADS = {decoder.width: decoder.heads for decoder in DECODERS.values()}


def read_classifier_config(encoder: ViTConfig, tensors: Tensors, naming: Naming, source: Path) -> ClassifierConfig:
    """Reads the dimensions of a classifier.

    Args:
      encoder: dimensions of the encoder.
      tensors: the file's tensors, by its own names.
      naming: the meaning of these names (`network_naming`).
      source: the file, for messages.

    Raises:
      UserError: the file has no classifier.
    """
    classes = _required("cls_head.fc_cls.weight", "classifier", tensors, naming, source)[0]
    pooled = naming.parts("fc_norm.weight")[0] in tensors
    return ClassifierConfig(encoder, classes, pooled, head_eps(naming.layout))


def read_autoencoder_config(
    encoder: ViTConfig, tensors: Tensors, naming: Naming, source: Path, heads: int | None = None
) -> AutoencoderConfig:
    """Reads the dimensions of a decoder.

    Args:
      encoder, tensors, naming, source: as for `read_classifier_config`.
      heads: attention heads of the decoder, which no tensor shows; None takes those of `HEADS`, and 1 for other widths.

    Raises:
      UserError: the file has no decoder, or its width is not a multiple of the heads.
    """
    width = _required("encoder_to_decoder.weight", "decoder", tensors, naming, source)[0]
    hidden = _required("decoder.blocks.0.mlp.layers.0.0.weight", "decoder", tensors, naming, source)[0]
    index = re.compile(re.escape(naming.parts("decoder.blocks.")[0]) + r"(\d+)\.")
    depth = len({match[1] for key in tensors if (match := index.match(key))})
    heads = heads or HEADS.get(width, 1)
    if width % heads:
        raise UserError(f"{source}: a decoder of width {width} with {heads} attention heads; expected a divisor of it")
    decoder = ViTConfig(width, depth, heads, hidden, encoder.patch, encoder.image_size, encoder.norm_eps)
    normed = naming.parts("encoder.norm.weight")[0] in tensors
    return AutoencoderConfig(encoder, decoder, normed, head_eps(naming.layout))


def _required(name: str, part: str, tensors: Tensors, naming: Naming, source: Path) -> tuple[int, ...]:
    """Returns the shape of a matrix, without which a file has no such part."""
    key = naming.parts(name)[0]
    if key not in tensors:
        raise UserError(f"{source}: has no {part}: {key} is not among its {len(tensors)} tensors")
    shape = tensors[key].shape
    if len(shape) != 2:
        raise UserError(f"{source}: wrong shape: {key} is {shape}, expected two axes")
    return shape


def head_eps(layout: Layout) -> float:
    """Returns the epsilon of the norm before the head in files of a layout."""
    return PYTORCH_EPS if layout is Layout.HUGGING_FACE else NORM_EPS
