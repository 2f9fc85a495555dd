"""Whole VideoMAE networks from and to PyTorch tensors: an encoder with its decoder, or with its classifier."""

from collections.abc import Iterable
from pathlib import Path

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from adatad_jax.conversion.layout import Leaf, autoencoder_leaves, classifier_leaves
from adatad_jax.conversion.names import Layout, Naming
from adatad_jax.conversion.videomae import POSITION_TOLERANCE, Shapes, Tensors, assemble
from adatad_jax.models.autoencoder import MaskedAutoencoder
from adatad_jax.models.classifier import Classifier
from adatad_jax.models.layers import Params
from adatad_jax.models.positions import sinusoid_table
from adatad_jax.models.sizes import CHUNK_FRAMES, CHUNK_TUBELETS, AutoencoderConfig, ClassifierConfig, ViTConfig

POSITIONS = "encoder.pos_embed"  # in the names of `layout.autoencoder_leaves`


def read_autoencoder(
    config: AutoencoderConfig, tensors: Tensors, source: Path, naming: Naming, allowed: Iterable[str] = ()
) -> Params:
    """Assembles the parameters of a `MaskedAutoencoder` from a file's tensors.

    A table of positions in the file becomes a parameter where it differs from the fixed sinusoids.

    Args:
      config: dimensions.
      tensors: the file's tensors, by its own names.
      source: the file, for messages.
      naming: the meaning of the file's names (`network_naming`).
      allowed: tensors that may be there and are not used.

    Raises:
      UserError: tensors are missing, have a wrong shape or type, or are unknown; lists all of them.
    """
    clips = _clips(config.encoder)
    token = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    shapes = jax.eval_shape(MaskedAutoencoder(config).init, jax.random.key(0), clips, token, token)["params"]
    return _read(autoencoder_leaves(config), shapes, config.encoder, tensors, source, naming, allowed)


def read_classifier(
    config: ClassifierConfig, tensors: Tensors, source: Path, naming: Naming, allowed: Iterable[str] = ()
) -> Params:
    """Assembles the parameters of a `Classifier` from a file's tensors; arguments and errors as `read_autoencoder`."""
    shapes = jax.eval_shape(Classifier(config).init, jax.random.key(0), _clips(config.encoder))["params"]
    return _read(classifier_leaves(config), shapes, config.encoder, tensors, source, naming, allowed)


def write_autoencoder(config: AutoencoderConfig, params: Params, naming: Naming) -> dict[str, np.ndarray]:
    """Splits the parameters of a `MaskedAutoencoder` into PyTorch tensors, by name: inverse of `read_autoencoder`.

    Files of mmaction also get the table of positions, which its models hold.

    Args:
      config: dimensions.
      params: the parameters.
      naming: the names to give (`network_naming`), in a layout with biases on q and v.
    """
    return _write(autoencoder_leaves(config), params, config.encoder, naming)


def write_classifier(config: ClassifierConfig, params: Params, naming: Naming) -> dict[str, np.ndarray]:
    """Splits the parameters of a `Classifier` into PyTorch tensors, by name; as `write_autoencoder`."""
    return _write(classifier_leaves(config), params, config.encoder, naming)


def _read(
    leaves: Iterable[Leaf],
    tree: Params,
    vit: ViTConfig,
    tensors: Tensors,
    source: Path,
    naming: Naming,
    allowed: Iterable[str],
) -> Params:
    """Assembles leaves of the shapes in a tree, and the positions of the file if they are its own."""
    shapes: Shapes = {path: leaf.shape for path, leaf in flax.traverse_util.flatten_dict(tree).items()}
    (key,) = naming.parts(POSITIONS)
    fixed, found = _sinusoids(vit), tensors.get(key)
    problems = []
    if found is not None and found.shape != fixed.shape:
        problems.append(f"wrong shape: {key} is {found.shape}, expected {fixed.shape}")
    params, _ = assemble(leaves, shapes, tensors, source, {*allowed, key}, naming, problems)
    if found is not None and np.abs(found - fixed).max() > POSITION_TOLERANCE:
        params["encoder"]["pos_embed"] = np.asarray(found[0], np.float32)
    return params


def _write(leaves: Iterable[Leaf], params: Params, vit: ViTConfig, naming: Naming) -> dict[str, np.ndarray]:
    """Splits parameters into tensors; those that the layout has in several parts are split on their first axis."""
    flat = flax.traverse_util.flatten_dict(params)
    out: dict[str, np.ndarray] = {}
    for leaf in leaves:
        for key, value in leaf.write(np.asarray(flat[leaf.path])).items():
            parts = naming.parts(key)
            out.update(zip(parts, np.split(value, len(parts)), strict=True))
    own = flat.get(("encoder", "pos_embed"))
    if own is not None or naming.layout is Layout.MMACTION:
        (key,) = naming.parts(POSITIONS)
        out[key] = _sinusoids(vit) if own is None else np.asarray(own)[None]
    return out


def _sinusoids(vit: ViTConfig) -> np.ndarray:
    """Returns the fixed positions as files have them, [1, 8*grid*grid, C]."""
    return sinusoid_table(CHUNK_TUBELETS * (vit.image_size // vit.patch) ** 2, vit.width)[None]


def _clips(vit: ViTConfig) -> jax.ShapeDtypeStruct:
    """Returns the shape of one clip's frames."""
    return jax.ShapeDtypeStruct((1, CHUNK_FRAMES, vit.image_size, vit.image_size, 3), jnp.uint8)
