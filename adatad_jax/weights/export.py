"""Export for PyTorch: of detectors as the release has them, and of VideoMAEs (`weights.export_network`).

A detector's file has both states in full, keys with the prefix `module.`.
"""

from pathlib import Path
from typing import Any

import flax.traverse_util
import numpy as np

from adatad_jax.config.build import make_model
from adatad_jax.config.fields import Config
from adatad_jax.conversion.detector import (
    CLASSIFIER_NORM,
    NORMALIZER,
    STATE,
    Tensors,
    check_parameters,
    same_bits,
    to_states,
)
from adatad_jax.conversion.dimensions import POSITIONS
from adatad_jax.conversion.layout import BACKBONE_PREFIX
from adatad_jax.conversion.names import Layout
from adatad_jax.conversion.torch_file import write_tensors
from adatad_jax.errors import UserError
from adatad_jax.models.layers import Params
from adatad_jax.models.positions import sinusoid_table
from adatad_jax.models.sizes import CHUNK_TUBELETS, ViTConfig
from adatad_jax.training import choosing
from adatad_jax.training.parameters import merge
from adatad_jax.training.retention import LATEST, Choice
from adatad_jax.weights import detector_store
from adatad_jax.weights.export_network import export_network, is_network
from adatad_jax.weights.frozen import read_frozen
from adatad_jax.weights.restore import restore_config
from adatad_jax.weights.run_folder import read_config

SUFFIXES = (".pth", ".safetensors")


def export(source: Path, output: Path, step: Choice = LATEST, layout: Layout | None = None) -> str:
    """Writes what a folder holds for PyTorch: a detector, or a VideoMAE with what is beside it.

    Args:
      source: folder of a run, or of a converted checkpoint.
      output: the file, `.pth` (needs torch) or `.safetensors`; it must not exist. For a VideoMAE in the layout of
        Hugging Face, a name without suffix is a folder.
      step: which checkpoint of a run, as for `read_chosen`.
      layout: of a VideoMAE; None: mmaction's. A detector has one layout, that of the release.

    Returns:
      The conversion summary, as text.

    Raises:
      UserError: the folder holds nothing to export, or a detector with plain adapters; it has no such layout; or the
        output exists or cannot be written.
    """
    is_folder = layout is Layout.HUGGING_FACE and not output.suffix
    if output.suffix not in SUFFIXES and not is_folder:
        raise UserError(f"{output}: expected a name that ends in {' or '.join(SUFFIXES)}")
    if output.exists():
        raise UserError(f"{output}: exists already; remove it or name another output")
    if not source.is_dir():
        raise UserError(f"{source}: no run here: expected the folder of a run or of a converted checkpoint")
    if is_network(source):
        return export_network(source, output, step, layout or Layout.MMACTION)
    if layout is not None:
        read_config(source)  # raises where there is no detector either
        raise UserError(f"{source}: a detector has one layout, that of the PyTorch release: leave --layout out")
    return _export_detector(source, output, step)


def _export_detector(source: Path, output: Path, step: Choice) -> str:
    """Writes a trained detector as a checkpoint of the PyTorch release; arguments and errors as of `export`."""
    converted = detector_store.is_converted(source)
    if converted and step != LATEST:
        raise UserError(f"{source}: no run, but one detector: a step ({step}) can be chosen of a run alone")
    fields, classes = read_config(source)
    config = restore_config(fields, source)
    _check_adapters(config, source)
    model = make_model(config, len(classes))
    if converted:
        stored = detector_store.load_detector(source)
        params, ema, unused = stored.params, stored.ema, stored.unused
        normalizer, origin = np.float32(config.train.normalizer_start), f"converted from {stored.source}"
    else:
        saved = choosing.read_chosen(source, step)
        params = merge(saved.trained, read_frozen(source, saved))
        ema = flax.traverse_util.flatten_dict(saved.average, sep="/")
        normalizer, origin = np.float32(saved.progress["normalizer"]), choosing.origin(source, saved)
        unused = {STATE: _of_backbone(detector_store.read_unused(source)[STATE], model.vit)}
    check_parameters(params, model, source)
    fresh = fresh_tensors(model.vit, normalizer)
    states = [{**fresh, **state} for state in to_states(params, ema, unused, model)]
    state, averaged = states
    wrapped, wrapped_averages = ({f"module.{key}": value for key, value in tensors.items()} for tensors in states)
    write_tensors(output, wrapped, wrapped_averages, record={"config": fields, "classes": classes})
    return "\n".join(
        [
            f"{source}: {origin}, {len(classes)} classes",
            f"wrote    {output}: state_dict and state_dict_ema, {len(state)} tensors each, "
            f"{sum(value.size for value in state.values()):,} numbers; {_different(state, averaged)} tensors differ "
            "between them",
            *(f"  {key}: {_fate(key, params, unused)}" for key in fresh),
        ]
    )


def _check_adapters(config: Config, source: Path) -> None:
    """Raises `UserError` for a detector with plain adapters, which the release's detectors cannot hold."""
    if config.model.adaptation == "adapter":
        raise UserError(
            f"{source}: a detector with plain adapters (config.model.adaptation='adapter'), which no model of the "
            "PyTorch release has: its adapters have a convolution over time; evaluate and detect read the folder itself"
        )


def fresh_tensors(vit: ViTConfig, normalizer: np.float32) -> Tensors:
    """Returns the tensors that the release's model holds besides its parameters, with their values in a fresh model.

    Args:
      vit: the model's backbone.
      normalizer: the loss normaliser.

    Returns:
      Key without `module.` -> value: position table, loss normaliser and, without side adapters, the classifier's norm.
    """
    positions = CHUNK_TUBELETS * (vit.image_size // vit.patch) ** 2
    tensors = {POSITIONS: sinusoid_table(positions, vit.width)[None], NORMALIZER: np.asarray(normalizer)}
    if not vit.side:
        tensors[f"{CLASSIFIER_NORM}weight"] = np.ones(vit.width, np.float32)
        tensors[f"{CLASSIFIER_NORM}bias"] = np.zeros(vit.width, np.float32)
    return tensors


def _of_backbone(unused: Tensors, vit: ViTConfig) -> Tensors:
    """Selects the unused tensors of a run's backbone that the release's detector has too: norm and positions."""
    kept = {}
    if "pos_embed" in unused:
        kept[POSITIONS] = unused["pos_embed"].reshape(1, -1, vit.width)
    if not vit.side:
        kept |= {BACKBONE_PREFIX + key: value for key, value in unused.items() if key.startswith("fc_norm.")}
    return kept


def _different(state: Tensors, averaged: Tensors) -> int:
    """Counts the tensors that are not bit-identical in both states."""
    return sum(not same_bits(value, averaged[key]) for key, value in state.items())


def _fate(key: str, params: Params, unused: dict[str, Any]) -> str:
    """Says where the written value of a tensor of `fresh_tensors` comes from."""
    if key in unused[STATE]:
        return "as in the checkpoint the weights came from"
    if key == POSITIONS and "pos_embed" in params["backbone"]:
        return "the model's own, not the fixed table"
    return "as training left it" if key == NORMALIZER else "as in a fresh model"
