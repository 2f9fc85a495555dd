"""Whole VideoMAE networks from and to PyTorch tensors: an encoder with its decoder, or with its classifier."""

from collections.abc import Iterable
from pathlib import Path

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from adatad_jax.conversion.layout import Leaf, autoencoder_leaves, classifier_leaves
from adatad_jax.conversion.names import Naming
from adatad_jax.conversion.videomae import Shapes, Tensors, assemble
from adatad_jax.models.autoencoder import MaskedAutoencoder
from adatad_jax.models.classifier import Classifier
from adatad_jax.models.layers import Params
from adatad_jax.models.sizes import CHUNK_FRAMES, AutoencoderConfig, ClassifierConfig


def read_autoencoder(
    config: AutoencoderConfig, tensors: Tensors, source: Path, naming: Naming, allowed: Iterable[str] = ()
) -> Params:
    """Assembles the parameters of a `MaskedAutoencoder` from a file's tensors.

    Args:
      config: dimensions.
      tensors: the file's tensors, by its own names.
      source: the file, for messages.
      naming: the meaning of the file's names (`network_naming`).
      allowed: tensors that may be there and are not used.

    Raises:
      UserError: tensors are missing, have a wrong shape or type, or are unknown; lists all of them.
    """
    clips = _clips(config.encoder.image_size)
    token = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    shapes = _shapes(jax.eval_shape(MaskedAutoencoder(config).init, jax.random.key(0), clips, token, token)["params"])
    return assemble(autoencoder_leaves(config), shapes, tensors, source, allowed, naming)[0]


def read_classifier(
    config: ClassifierConfig, tensors: Tensors, source: Path, naming: Naming, allowed: Iterable[str] = ()
) -> Params:
    """Assembles the parameters of a `Classifier` from a file's tensors; arguments and errors as `read_autoencoder`."""
    clips = _clips(config.encoder.image_size)
    shapes = _shapes(jax.eval_shape(Classifier(config).init, jax.random.key(0), clips)["params"])
    return assemble(classifier_leaves(config), shapes, tensors, source, allowed, naming)[0]


def write_autoencoder(config: AutoencoderConfig, params: Params, naming: Naming) -> dict[str, np.ndarray]:
    """Splits the parameters of a `MaskedAutoencoder` into PyTorch tensors, by name: inverse of `read_autoencoder`."""
    return _write(autoencoder_leaves(config), params, naming)


def write_classifier(config: ClassifierConfig, params: Params, naming: Naming) -> dict[str, np.ndarray]:
    """Splits the parameters of a `Classifier` into PyTorch tensors, by name: the inverse of `read_classifier`."""
    return _write(classifier_leaves(config), params, naming)


def _write(leaves: Iterable[Leaf], params: Params, naming: Naming) -> dict[str, np.ndarray]:
    """Splits parameters into tensors; those that the layout has in several parts are split on their first axis."""
    flat = flax.traverse_util.flatten_dict(params)
    out: dict[str, np.ndarray] = {}
    for leaf in leaves:
        for key, value in leaf.write(np.asarray(flat[leaf.path])).items():
            parts = naming.parts(key)
            out.update(zip(parts, np.split(value, len(parts)), strict=True))
    return out


def _clips(side: int) -> jax.ShapeDtypeStruct:
    """Returns the shape of one clip's frames."""
    return jax.ShapeDtypeStruct((1, CHUNK_FRAMES, side, side, 3), jnp.uint8)


def _shapes(tree: Params) -> Shapes:
    """Returns path -> shape of every leaf."""
    return {path: leaf.shape for path, leaf in flax.traverse_util.flatten_dict(tree).items()}
