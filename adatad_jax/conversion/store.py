"""Converted backbones on disk (Orbax), and their way into a model's parameters; needs no torch."""

import json
import shutil
from pathlib import Path

import flax.traverse_util
import jax
import numpy as np
import orbax.checkpoint as ocp

from adatad_jax.errors import UserError, one_line
from adatad_jax.files import check_output_folder
from adatad_jax.models.sizes import CHUNK_TUBELETS, ViTConfig

Params = dict

ACCOUNT_FILE = "conversion.json"
PARAMS_FOLDER = "params"


def refuse_existing(folder: Path) -> None:
    """Raises `UserError` if the folder exists, so that nothing is overwritten, or cannot be made."""
    check_output_folder(folder)
    if folder.exists():
        raise UserError(f"{folder}: exists already; remove it or name another output")


def save_backbone(folder: Path, params: Params, account: dict[str, object]) -> None:
    """Writes parameters and the conversion's account; the folder appears only once it is whole.

    Raises:
      UserError: the folder exists.
    """
    refuse_existing(folder)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(partial.absolute() / PARAMS_FOLDER, params)
        (partial / ACCOUNT_FILE).write_text(json.dumps(account, indent=2))
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load_backbone(path: Path) -> tuple[Params, str]:
    """Reads a backbone: a folder written by `convert/pth_to_flax.py`, or a `.pth` file, converted by the same code.

    Returns:
      The parameters, all blocks in one stack, and the conversion's account in words.

    Raises:
      UserError: neither, or the file does not fit.
    """
    if path.is_dir():
        if not ((path / PARAMS_FOLDER).is_dir() and (path / ACCOUNT_FILE).is_file()):
            raise UserError(
                f"{path}: no converted weights in this folder; expected {PARAMS_FOLDER}/ and {ACCOUNT_FILE} as "
                "convert/pth_to_flax.py writes them"
            )
        try:
            return _load_folder(path.absolute())
        # Whatever the library raises over damaged files.
        except Exception as error:
            raise UserError(
                f"{path}: damaged ({type(error).__name__}: {one_line(error)}); convert the .pth again"
            ) from error
    # torch is imported here and nowhere else on the way to training.
    from adatad_jax.conversion.torch_file import load_state_dict
    from adatad_jax.conversion.videomae import convert_videomae

    backbone = convert_videomae(load_state_dict(path), path)
    return backbone.params, backbone.account()


def _load_folder(path: Path) -> tuple[Params, str]:
    with ocp.StandardCheckpointer() as checkpointer:
        saved = checkpointer.metadata(path / PARAMS_FOLDER).item_metadata.tree
        shapes = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), saved)
        params = checkpointer.restore(path / PARAMS_FOLDER, shapes)
    return params, json.loads((path / ACCOUNT_FILE).read_text())["account"]


def insert_backbone(params: Params, backbone: Params, vit: ViTConfig, source: Path) -> Params:
    """Replaces a model's frozen backbone leaves by converted ones; adapters and detector stay.

    Args:
      params: freshly initialised parameters of an `AdaTAD`.
      backbone: as `load_backbone` gives: all blocks in one stack.
      vit: the model's backbone, whose runs of blocks lay out the stacks.
      source: where the weights came from, for messages.

    Raises:
      UserError: the weights are of another size: every leaf that does not fit is listed.
    """
    stacked = flax.traverse_util.flatten_dict(backbone)
    wanted = flax.traverse_util.flatten_dict(params["backbone"])
    found = {}
    for path, value in stacked.items():
        if not path[0].startswith("blocks_"):
            found[path] = value
            continue
        for first, last, _ in vit.runs():
            found[(f"blocks_{first}_{last}", *path[1:])] = value[first : last + 1]
    frozen = {path for path in wanted if "tia" not in path}
    problems = [f"missing: {'/'.join(path)}" for path in sorted(frozen - found.keys())]
    for path, value in found.items():
        shape = wanted[path].shape if path in wanted else None
        if path == ("pos_embed",):
            shape = (CHUNK_TUBELETS * (vit.image_size // vit.patch) ** 2, vit.width)
        if value.shape != shape:
            problems.append(f"{'/'.join(path)}: found {value.shape}, the model needs {shape}")
    depth = next(value.shape[0] for path, value in stacked.items() if path[0].startswith("blocks_"))
    if depth != vit.depth:
        problems.insert(0, f"depth: found {depth} blocks, the model has {vit.depth}")
    if problems:
        raise UserError(
            f"{source}: weights of another size than the config's backbone (width {vit.width}, depth {vit.depth}, "
            f"MLP {vit.mlp_hidden}, patch {vit.patch}, image_size {vit.image_size}); set config.model to match, or "
            "give other weights:\n  " + "\n  ".join(problems)
        )
    merged = flax.traverse_util.unflatten_dict({**wanted, **{p: np.asarray(v, np.float32) for p, v in found.items()}})
    return {**params, "backbone": merged}
