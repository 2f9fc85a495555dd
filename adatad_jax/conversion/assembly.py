"""Parameter trees from the tensors of a file, whatever its names for them; lists everything that does not fit."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import flax.traverse_util
import jax.numpy as jnp
import numpy as np

from adatad_jax.conversion.folders import on_host
from adatad_jax.conversion.layout import Leaf
from adatad_jax.conversion.names import MMACTION, Naming
from adatad_jax.errors import UserError
from adatad_jax.models.layers import Params
from adatad_jax.models.sizes import CHUNK_TUBELETS, ViTConfig

Shapes = dict[tuple[str, ...], tuple[int, ...]]
Tensors = Mapping[str, np.ndarray]
POSITION_TOLERANCE = 1e-6  # of a table of positions that counts as the fixed sinusoids


def assemble(
    leaves: Iterable[Leaf],
    shapes: Shapes,
    tensors: Tensors,
    source: Path,
    allowed: Iterable[str] = (),
    naming: Naming = MMACTION,
    problems: Iterable[str] = (),
) -> tuple[Params, int]:
    """Builds the parameter tree of `leaves` from a file's tensors.

    Args:
      leaves: the leaves to build.
      shapes: path -> shape that the model expects, for every leaf.
      tensors: the file's tensors, by its own names.
      source: the file, for messages.
      allowed: tensors that may be there and are not used.
      naming: the meaning of the file's names.
      problems: what else is wrong with the file, to be listed with the rest.

    Returns:
      The tree, float32, and the number of tensors used.

    Raises:
      UserError: tensors are missing, have a wrong shape or type, or are unknown; lists all of them, and `problems`.
    """
    leaves = list(leaves)
    known, problems = set(allowed), list(problems)
    used = 0
    for leaf in leaves:
        whole = leaf.torch_shape(shapes[leaf.path])
        for key in leaf.keys:
            parts = naming.parts(key)
            known |= set(parts)
            used += len(parts)
            expected = whole if len(parts) <= 1 else (whole[0] // len(parts), *whole[1:])
            problems += [line for part in parts if (line := _misfit(part, key, tensors, expected, naming))]
    problems += [f"unknown: {key} {value.shape}" for key, value in tensors.items() if key not in known]
    if problems:
        raise UserError(
            f"{source}: {len(problems)} tensors do not fit, read as {naming.layout.value}:\n  " + "\n  ".join(problems)
        )
    tree = {leaf.path: np.asarray(on_host(_read(leaf, tensors, naming, shapes))) for leaf in leaves}
    return flax.traverse_util.unflatten_dict(tree), used


def _misfit(part: str, key: str, tensors: Tensors, expected: tuple[int, ...], naming: Naming) -> str:
    """Returns what is wrong with the file's tensor `part`, which is all or part of mmaction's `key`; "" if it fits."""
    if part not in tensors:
        return f"missing: {part}" + (f" (for {key})" if naming.bare(part) != key else "")
    found = tensors[part]
    if found.shape != expected:
        return f"wrong shape: {part} is {found.shape}, expected {expected}"
    if not jnp.issubdtype(found.dtype, jnp.floating):
        return f"wrong type: {part} is {found.dtype}, expected floating point"
    return ""


def _read(leaf: Leaf, tensors: Tensors, naming: Naming, shapes: Shapes) -> np.ndarray:
    """Assembles a leaf from tensors that fit."""
    joined = {}
    for key in leaf.keys:
        parts = [tensors[part] for part in naming.parts(key)]
        if not parts:
            parts = [np.zeros(leaf.torch_shape(shapes[leaf.path]), np.float32)]
        joined[key] = np.concatenate(parts) if len(parts) > 1 else parts[0]
    return leaf.read(joined)


def check_shapes(params: Params, wanted: Shapes, encoder: str, vit: ViTConfig, where: Path) -> None:
    """Checks the shapes of parameters.

    Args:
      params: to check.
      wanted: path -> shape that a model of the configuration has. A table of positions may be there besides.
      encoder: name of the encoder in the tree.
      vit: its dimensions.
      where: where the parameters are, for messages.

    Raises:
      UserError: shapes differ; lists every array that differs.
    """
    found = {path: np.shape(leaf) for path, leaf in flax.traverse_util.flatten_dict(params).items()}
    positions = (encoder, "pos_embed")
    if positions in found:  # optional: replaces the sinusoid table
        wanted = {**wanted, positions: (CHUNK_TUBELETS * (vit.image_size // vit.patch) ** 2, vit.width)}
    lines = [
        f"{'/'.join(path)}: found {found.get(path, 'nothing')}, the configuration needs {wanted.get(path, 'nothing')}"
        for path in sorted(found.keys() | wanted.keys())
        if found.get(path) != wanted.get(path)
    ]
    if lines:
        raise UserError(
            f"{where}: the parameters do not have the shapes of its configuration ({len(lines)} arrays differ); "
            "restore the config.json that was written with the folder:\n  " + "\n  ".join(lines)
        )
