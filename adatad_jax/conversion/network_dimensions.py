"""The dimensions of a decoder or a classifier beside a VideoMAE encoder, read off the tensors that show them."""

import re
from pathlib import Path

from adatad_jax.conversion.names import Layout, Naming
from adatad_jax.conversion.videomae import Tensors
from adatad_jax.errors import UserError
from adatad_jax.models.sizes import DECODERS, NORM_EPS, AutoencoderConfig, ClassifierConfig, ViTConfig

PYTORCH_EPS = 1e-5  # of the norms that transformers makes without an epsilon of its own
HEADS = {decoder.width: decoder.heads for name, decoder in DECODERS.items() if name != "tiny"}


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
    return ClassifierConfig(encoder, classes, pooled, _head_eps(naming))


def read_autoencoder_config(
    encoder: ViTConfig, tensors: Tensors, naming: Naming, source: Path, heads: int | None = None
) -> AutoencoderConfig:
    """Reads the dimensions of a decoder.

    Args:
      encoder, tensors, naming, source: as for `read_classifier_config`.
      heads: attention heads of the decoder, which no tensor shows; None takes those of the published decoder of its
        width.

    Raises:
      UserError: the file has no decoder, or its heads are not known.
    """
    width = _required("encoder_to_decoder.weight", "decoder", tensors, naming, source)[0]
    hidden = _required("decoder.blocks.0.mlp.layers.0.0.weight", "decoder", tensors, naming, source)[0]
    index = re.compile(re.escape(naming.parts("decoder.blocks.")[0]) + r"(\d+)\.")
    depth = len({match[1] for key in tensors if (match := index.match(key))})
    heads = heads or HEADS.get(width)
    if heads is None:
        raise UserError(
            f"{source}: a decoder of width {width}, whose attention heads no tensor shows; published decoders have a "
            f"width of {', '.join(map(str, HEADS))}"
        )
    decoder = ViTConfig(width, depth, heads, hidden, encoder.patch, encoder.image_size, encoder.norm_eps)
    normed = naming.parts("encoder.norm.weight")[0] in tensors
    return AutoencoderConfig(encoder, decoder, normed, _head_eps(naming))


def _required(name: str, part: str, tensors: Tensors, naming: Naming, source: Path) -> tuple[int, ...]:
    """Returns the shape of a matrix, without which a file has no such part."""
    key = naming.parts(name)[0]
    if key not in tensors:
        raise UserError(f"{source}: has no {part}: {key} is not among its {len(tensors)} tensors")
    shape = tensors[key].shape
    if len(shape) != 2:
        raise UserError(f"{source}: wrong shape: {key} is {shape}, expected two axes")
    return shape


def _head_eps(naming: Naming) -> float:
    """Returns the epsilon of the norm before the head."""
    return PYTORCH_EPS if naming.layout is Layout.HUGGING_FACE else NORM_EPS
