"""Converted backbones: written to disk, read without torch, and inserted into a model's parameters."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import flax.traverse_util
import numpy as np

from adatad_jax.conversion import folders
from adatad_jax.conversion.beside import Beside
from adatad_jax.conversion.detector_backbone import Adapters
from adatad_jax.conversion.dimensions import adapters_words, backbone_size
from adatad_jax.conversion.folders import PARAMS_FOLDER, SUMMARY_FILE, UNUSED_FILE
from adatad_jax.conversion.names import Layout
from adatad_jax.conversion.torch_file import CONFIG_FILE, TensorFile, read_tensors, write_tensors
from adatad_jax.conversion.videomae import PRE_TRAINED, ConvertedBackbone, convert_backbone
from adatad_jax.errors import UserError, one_line
from adatad_jax.files import write_text
from adatad_jax.models.layers import Params
from adatad_jax.models.sizes import CHUNK_TUBELETS, IMAGE_SIZE, SIZES, ViTConfig

ADAPTERS = "tia"  # key of the adapters beside the backbone's parameters


@dataclass(frozen=True)
class LoadedBackbone:
    """A backbone ready to go into a model.

    Attributes:
      params: parameters of a `Backbone` without adapters, all blocks in one stack, float32.
      summary: the conversion summary, as text.
      norm_eps: epsilon of every LayerNorm.
      unused: tensors beside the encoder, unchanged (`ConvertedBackbone`): a decoder or a classifier, if it has one.
      beside: what is known of these tensors.
      heads, image_size: number of attention heads, and side of the pre-training frames in pixels; None if the file does
        not show them.
      adapters: of the detector that the backbone comes from; None without any.
      is_pre_trained: whether the weights are known to come from pre-training without fine-tuning.
      origin: what they are, in words.
    """

    params: Params
    summary: str
    norm_eps: float
    unused: dict[str, np.ndarray]
    beside: Beside
    heads: int | None
    image_size: int | None
    adapters: Adapters | None = None
    is_pre_trained: bool = False
    origin: str = ""

    @property
    def vit(self) -> ViTConfig:
        """Returns the encoder's dimensions; heads and image size are placeholders, 1 and 224, where not known."""
        _, patch, _, _, width = self.params["patch_embed"]["kernel"].shape
        blocks = next(value for name, value in self.params.items() if name.startswith("blocks_"))
        depth, _, hidden = blocks["mlp"]["fc1"]["kernel"].shape
        return ViTConfig(
            width, depth, self.heads or 1, hidden, patch, self.image_size or IMAGE_SIZE, norm_eps=self.norm_eps
        )


def save_backbone(folder: Path, backbone: ConvertedBackbone) -> None:
    """Writes parameters, tensors beside the encoder, and the conversion summary.

    The folder appears only once it is whole.

    Args:
      folder: to write.
      backbone: the converted file.

    Raises:
      UserError: the folder exists, or cannot be written.
    """
    params = {**backbone.params, ADAPTERS: backbone.adapters.params} if backbone.adapters else backbone.params
    with folders.whole(folder, folders.size_of(params, backbone.unused)) as partial:
        folders.write_tree(partial / PARAMS_FOLDER, params)
        if backbone.unused:
            write_tensors(partial / UNUSED_FILE, backbone.unused)
        write_text(partial / SUMMARY_FILE, json.dumps(backbone.record(), indent=2))


def load_backbone(path: Path) -> LoadedBackbone:
    """Reads a backbone from a converted folder, or converts it from a VideoMAE checkpoint.

    Args:
      path: a folder that `convert/pth_to_flax.py` has written, or a VideoMAE checkpoint, which is converted by the same
        code.

    Raises:
      UserError: the path is neither, the folder is damaged, or the checkpoint cannot be converted.
    """
    has_config, has_summary = (path / CONFIG_FILE).is_file(), (path / SUMMARY_FILE).is_file()
    if has_config and has_summary:
        raise UserError(
            f"{path}: a converted AdaTAD detector, where a VideoMAE backbone is expected; use it as --checkpoint of "
            "evaluate or detect"
        )
    if path.is_dir() and not has_config:
        if not ((path / PARAMS_FOLDER).is_dir() and has_summary):
            raise UserError(
                f"{path}: no weights in this folder; expected {PARAMS_FOLDER}/ and {SUMMARY_FILE} as "
                f"convert/pth_to_flax.py writes them, or {CONFIG_FILE} and the weights of Hugging Face"
            )
        try:
            return _load_folder(path)
        # The libraries raise many types for damaged files. A missing entry means an older version.
        except Exception as error:
            raise UserError(
                f"{path}: damaged, or converted by an older version ({type(error).__name__}: {one_line(error)}); "
                "convert the checkpoint again"
            ) from error
    return backbone_of(read_tensors(path))


def backbone_of(file: TensorFile) -> LoadedBackbone:
    """Converts the tensors of a VideoMAE checkpoint; raises `UserError` if they cannot be."""
    backbone = convert_backbone(file)
    return LoadedBackbone(
        backbone.params,
        backbone.summary(),
        backbone.config.norm_eps,
        backbone.unused,
        backbone.beside,
        backbone.heads,
        backbone.image_size,
        is_pre_trained=backbone.layout.endswith(PRE_TRAINED),
        origin=backbone.layout,
    )


def _load_folder(path: Path) -> LoadedBackbone:
    record, params = folders.read_conversion(path), folders.read_tree(path / PARAMS_FOLDER)
    unused = read_tensors(path / UNUSED_FILE).tensors if record["left_out"] else {}
    if unused.keys() != record["left_out"].keys():
        raise ValueError(f"{UNUSED_FILE} does not hold what {SUMMARY_FILE} says was left out")
    adapters = None
    if kept := record.get("adapters"):  # folders of earlier versions have no such entry
        adapters = Adapters(params.pop(ADAPTERS), tuple(kept["blocks"]), kept["side"], kept["hidden"])
    layout = next(layout for layout in Layout if record["layout"].startswith(layout.value))
    return LoadedBackbone(
        params,
        record["account"],
        record["norm_eps"],
        unused,
        Beside.of_record(record, path) if "beside" in record else Beside.of_layout(layout),
        record["heads"],
        record["image_size"],
        adapters,
        record["layout"].endswith(PRE_TRAINED),
        f"converted from {record['source']}, {record['layout']}",
    )


def insert_backbone(params: Params, backbone: LoadedBackbone, vit: ViTConfig, source: Path) -> Params:
    """Replaces a model's backbone parameters by converted ones. The detector stays, and adapters that are not given.

    Args:
      params: freshly initialised parameters of an `AdaTAD`, or their shapes.
      backbone: from `load_backbone`.
      vit: the model's backbone, whose runs of blocks determine the stacks.
      source: where the weights come from, for messages.

    Returns:
      A new tree; the backbone's leaves are float32.

    Raises:
      UserError: the weights have other sizes, or were trained with other heads, positions or norms. Every leaf and
        field that does not fit is listed.
    """
    merged, problems = fit_backbone(params["backbone"], backbone, vit)
    refuse(problems, vit, source)
    return {**params, "backbone": merged}


def fit_backbone(tree: Params, backbone: LoadedBackbone, vit: ViTConfig) -> tuple[Params, list[str]]:
    """Replaces the parameters of a model's backbone, or encoder, by converted ones.

    Args:
      tree: of the model's backbone; arrays, or their shapes.
      backbone: from `load_backbone`.
      vit: dimensions of the model's backbone.

    Returns:
      A new tree, whose leaves that come from the weights are float32; and what does not fit, one line each.
    """
    stacked = flax.traverse_util.flatten_dict(backbone.params)
    wanted = flax.traverse_util.flatten_dict(tree)
    found = {}
    for path, value in stacked.items():
        if not path[0].startswith("blocks_"):
            found[path] = value
            continue
        for first, last, _ in vit.runs():
            name = f"blocks_{first}_{last}"
            # Nothing reads the blocks after the last side adapter, so a model may lack them.
            if name in tree or not vit.side:
                found[(name, *path[1:])] = value[first : last + 1]
    problems = _wrong_settings(backbone, vit) + _insert_adapters(found, backbone.adapters, vit)
    frozen = {path for path in wanted if ADAPTERS not in path}
    problems += [f"missing: {'/'.join(path)}" for path in sorted(frozen - found.keys())]
    for path, value in found.items():
        shape = wanted[path].shape if path in wanted else None
        if path == ("pos_embed",):
            shape = (CHUNK_TUBELETS * (vit.image_size // vit.patch) ** 2, vit.width)
        if value.shape != shape:
            problems.append(f"{'/'.join(path)}: found {value.shape}, the model needs {shape}")
    merged = {**wanted, **{path: np.asarray(value, np.float32) for path, value in found.items()}}
    return flax.traverse_util.unflatten_dict(merged), problems


def refuse(problems: Sequence[str], vit: ViTConfig, source: Path) -> None:
    """Raises `UserError` if weights from `source` do not fit a model with this backbone; lists all `problems`."""
    if problems:
        raise UserError(
            f"{source}: the weights do not fit the configuration's backbone (width {vit.width}, depth {vit.depth}, "
            f"heads {vit.heads}, MLP {vit.mlp_hidden}, patch {vit.patch}, image_size {vit.image_size}, "
            f"norm_eps {vit.norm_eps:g}); set config.model to match, or give other weights:\n  " + "\n  ".join(problems)
        )


def _wrong_settings(backbone: LoadedBackbone, vit: ViTConfig) -> list[str]:
    """Returns what does not fit of a backbone's size, and of what no shape shows."""
    theirs, problems = backbone.vit, []
    for name, known in SIZES.items():
        if backbone_size(known) == backbone_size(theirs) != backbone_size(vit):
            problems.append(f"size: the weights are of size {name}; set --config.model.size={name}")
    for field in ("norm_eps", "heads", "image_size"):
        before, now = getattr(backbone, field), getattr(vit, field)
        if before not in (None, now):
            remedy = "" if field == "heads" else f"; set --config.model.{field}={before:g}"
            problems.append(f"{field}: the weights were trained with {before:g}, the model has {now:g}{remedy}")
    if theirs.depth != vit.depth:
        problems.append(f"depth: found {theirs.depth} blocks, the model has {vit.depth}")
    return problems


def _insert_adapters(found: dict[tuple[str, ...], np.ndarray], adapters: Adapters | None, vit: ViTConfig) -> list[str]:
    """Adds the leaves of adapters to those of the blocks, in a model that has adapters; returns what does not fit."""
    if adapters is None or not vit.tia_blocks:
        return []
    theirs = replace(
        vit, tia_blocks=adapters.blocks, tia_hidden=adapters.hidden, side=adapters.side, temporal=adapters.temporal
    )
    if theirs != vit:
        return [
            f"adapters: the weights have {adapters_words(theirs)}, the model {adapters_words(vit)}; set "
            "--config.model.adaptation, tia_blocks and tia_ratio"
        ]
    for first, last, has_tia in vit.runs():
        if has_tia:
            places = [adapters.blocks.index(block) for block in range(first, last + 1)]
            for path, value in flax.traverse_util.flatten_dict(adapters.params).items():
                found[(f"blocks_{first}_{last}", ADAPTERS, *path)] = value[places]
    return []


def adapters_note(backbone: LoadedBackbone, vit: ViTConfig) -> str:
    """Says what a model does with the adapters that come with its weights; empty if none come."""
    if backbone.adapters is None:
        return ""
    if not vit.tia_blocks:
        return "adapters of the weights are not used: the model has none (config.model.adaptation)"
    return f"adapters of the weights are used, {adapters_words(vit)}: training goes on from them"
