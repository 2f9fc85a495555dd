"""Whole VideoMAE networks from and to PyTorch tensors: an encoder with its decoder, or with its classifier."""

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from adatad_jax.conversion.assembly import POSITION_TOLERANCE, Shapes, Tensors, assemble, check_shapes
from adatad_jax.conversion.layout import Leaf, autoencoder_leaves, classifier_leaves
from adatad_jax.conversion.names import Layout, Naming
from adatad_jax.models.autoencoder import MaskedAutoencoder
from adatad_jax.models.classifier import Classifier
from adatad_jax.models.layers import Params
from adatad_jax.models.positions import sinusoid_table
from adatad_jax.models.sizes import CHUNK_FRAMES, CHUNK_TUBELETS, AutoencoderConfig, ClassifierConfig, ViTConfig

Network = MaskedAutoencoder | Classifier
POSITIONS = "encoder.pos_embed"  # in the names of `layout.autoencoder_leaves`


def first_parameters(model: Network, key: jax.Array) -> Any:
    """Draws all parameters of a network, inside a compiled function."""
    side = model.config.encoder.patch
    frames, token = jnp.zeros((1, CHUNK_FRAMES, side, side, 3), jnp.uint8), jnp.zeros((1, 1), jnp.int32)
    tokens = (token, token) if isinstance(model, MaskedAutoencoder) else ()
    return model.init(key, frames, *tokens)["params"]


def network_leaves(model: Network) -> Iterator[Leaf]:
    """Yields all leaves of a network."""
    if isinstance(model, MaskedAutoencoder):
        yield from autoencoder_leaves(model.config)
    else:
        yield from classifier_leaves(model.config)


@functools.cache
def network_shapes(model: Network) -> Shapes:
    """Returns path -> shape for every parameter of a network."""
    shapes = jax.eval_shape(functools.partial(first_parameters, model), jax.random.key(0))
    return {path: leaf.shape for path, leaf in flax.traverse_util.flatten_dict(shapes).items()}


def check_network(params: Params, model: Network, where: Path) -> None:
    """Checks the shapes of parameters against those of a network, as `detector.check_parameters` does of a detector.

    Args:
      params: the parameters.
      model: the network of the configuration.
      where: where the parameters are, for messages.

    Raises:
      UserError: shapes differ; lists every array that differs.
    """
    check_shapes(params, network_shapes(model), "encoder", model.config.encoder, where)


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
    shapes = network_shapes(MaskedAutoencoder(config))
    return _read(autoencoder_leaves(config), shapes, config.encoder, tensors, source, naming, allowed)


def read_classifier(
    config: ClassifierConfig, tensors: Tensors, source: Path, naming: Naming, allowed: Iterable[str] = ()
) -> Params:
    """Assembles the parameters of a `Classifier` from a file's tensors; arguments and errors as `read_autoencoder`."""
    shapes = network_shapes(Classifier(config))
    return _read(classifier_leaves(config), shapes, config.encoder, tensors, source, naming, allowed)


def write_autoencoder(config: AutoencoderConfig, params: Params, naming: Naming) -> dict[str, np.ndarray]:
    """Splits the parameters of a `MaskedAutoencoder` into PyTorch tensors, by name: inverse of `read_autoencoder`.

    Files of mmaction also get the table of positions, which its models hold.

    Args:
      config: dimensions.
      params: the parameters.
      naming: the names to give (`network_naming`), in a layout with biases on q and v.
    """
    tensors = write_leaves(autoencoder_leaves(config), params, naming)
    return tensors | write_positions(params, config.encoder, naming)


def write_classifier(config: ClassifierConfig, params: Params, naming: Naming) -> dict[str, np.ndarray]:
    """Splits the parameters of a `Classifier` into PyTorch tensors, by name; as `write_autoencoder`."""
    tensors = write_leaves(classifier_leaves(config), params, naming)
    return tensors | write_positions(params, config.encoder, naming)


def _read(
    leaves: Iterable[Leaf],
    shapes: Shapes,
    vit: ViTConfig,
    tensors: Tensors,
    source: Path,
    naming: Naming,
    allowed: Iterable[str],
) -> Params:
    """Assembles leaves of these shapes, and the positions of the file if they are its own."""
    (key,) = naming.parts(POSITIONS)
    fixed, found = _sinusoids(vit), tensors.get(key)
    problems = []
    if found is not None and found.shape != fixed.shape:
        problems.append(f"wrong shape: {key} is {found.shape}, expected {fixed.shape}")
    params, _ = assemble(leaves, shapes, tensors, source, {*allowed, key}, naming, problems)
    if found is not None and np.abs(found - fixed).max() > POSITION_TOLERANCE:
        params["encoder"]["pos_embed"] = np.asarray(found[0], np.float32)
    return params


def write_leaves(leaves: Iterable[Leaf], params: Params, naming: Naming) -> dict[str, np.ndarray]:
    """Splits parameters into PyTorch tensors, by name.

    Tensors that the layout has in several parts are split on their first axis.

    Args:
      leaves: of the parameters.
      params: the tree of a network.
      naming: the names to give (`network_naming`).
    """
    flat = flax.traverse_util.flatten_dict(params)
    out: dict[str, np.ndarray] = {}
    for leaf in leaves:
        for key, value in leaf.write(np.asarray(flat[leaf.path])).items():
            parts = naming.parts(key)
            out.update(zip(parts, np.split(value, len(parts)), strict=True))
    return out


def write_positions(params: Params, vit: ViTConfig, naming: Naming) -> dict[str, np.ndarray]:
    """Returns the table of positions as files have it: mmaction's always do, others where it is a parameter."""
    own = params["encoder"].get("pos_embed")
    if own is None and naming.layout is not Layout.MMACTION:
        return {}
    (key,) = naming.parts(POSITIONS)
    return {key: _sinusoids(vit) if own is None else np.asarray(own)[None]}


def _sinusoids(vit: ViTConfig) -> np.ndarray:
    """Returns the fixed positions as files have them, [1, 8*grid*grid, C]."""
    return sinusoid_table(CHUNK_TUBELETS * (vit.image_size // vit.patch) ** 2, vit.width)[None]
