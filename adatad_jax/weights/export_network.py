"""Export of VideoMAEs for PyTorch: the encoder, and the decoder or the classifier beside it, in any layout."""

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from adatad_jax.conversion import folders
from adatad_jax.conversion.beside import ClassifierBeside, DecoderBeside, read_decoder, read_head, read_norm
from adatad_jax.conversion.folders import SUMMARY_FILE
from adatad_jax.conversion.hugging_face import model_config
from adatad_jax.conversion.layout import decoder_leaves, encoder_leaves, head_leaves
from adatad_jax.conversion.names import CLASSIFIER_ENCODERS, PRETRAINING_ENCODERS, Layout, network_naming
from adatad_jax.conversion.network_dimensions import PYTORCH_EPS
from adatad_jax.conversion.networks import POSITIONS, write_leaves, write_positions
from adatad_jax.conversion.torch_file import CONFIG_FILE, WEIGHT_FILES, write_tensors
from adatad_jax.errors import UserError
from adatad_jax.files import write_text
from adatad_jax.models.layers import Params
from adatad_jax.training.retention import LATEST, Choice
from adatad_jax.weights.backbone_store import LoadedBackbone, load_backbone
from adatad_jax.weights.clip_run import backbone_of_run, is_clip_run, read_clip_run

# Key under which the authors' code looks for the weights in a torch file.
WRAPPER = {Layout.MMACTION: "state_dict", Layout.ORIGINAL: "model", Layout.HUGGING_FACE: "state_dict"}


class _Whole(NamedTuple):
    """A VideoMAE: the encoder, and what is beside it, if anything."""

    backbone: LoadedBackbone
    norm: Params | None
    decoder: DecoderBeside | None
    head: ClassifierBeside | None


def is_network(source: Path) -> bool:
    """Tells whether a folder holds a VideoMAE, trained on clips or converted, and no detector.

    Raises:
      UserError: the folder's configuration is damaged.
    """
    if (source / CONFIG_FILE).is_file():
        return is_clip_run(source)
    return (source / SUMMARY_FILE).is_file()


def export_network(source: Path, output: Path, step: Choice, layout: Layout) -> str:
    """Writes a VideoMAE; of a run, the averages.

    Args:
      source: folder of a run on clips, or of a converted VideoMAE.
      output: the file; or for `Layout.HUGGING_FACE`, if it has no suffix, the folder. It must not exist.
      step: which checkpoint of a run, as for `read_chosen`.
      layout: of the file.

    Returns:
      The conversion summary, as text.

    Raises:
      UserError: what is in the folder is damaged, or the output cannot be written.
    """
    whole = _read(source, step)
    tensors = _tensors(whole, layout)
    if output.suffix:
        wrapper = "" if output.suffix == ".safetensors" else WRAPPER[layout]
        write_tensors(output, tensors, record=_record(whole.backbone, layout), wrapper=wrapper)
    else:
        config = json.dumps(_hugging_face(source, whole), indent=2) + "\n"
        with folders.whole(output, folders.size_of(tensors)) as partial:
            record = _record(whole.backbone, layout)
            write_tensors(partial / WEIGHT_FILES[0], tensors, record=record, wrapper="")
            write_text(partial / CONFIG_FILE, config)
    return "\n".join(
        [
            f"{source}: {whole.backbone.origin}",
            f"wrote    {output}: {layout.value}, {len(tensors)} tensors, "
            f"{sum(value.size for value in tensors.values()):,} numbers: {_parts(whole)}",
            *(f"note     {note}" for note in _notes(whole, layout)),
        ]
    )


def _read(source: Path, step: Choice) -> _Whole:
    """Reads a VideoMAE with what is beside it."""
    if (source / CONFIG_FILE).is_file():
        backbone = backbone_of_run(read_clip_run(source, step))
    elif step == LATEST:
        backbone = load_backbone(source)
    else:
        raise UserError(f"{source}: no run, but one set of weights: a step ({step}) can be chosen of a run alone")
    beside = (backbone.vit, backbone.unused, backbone.beside, source)
    return _Whole(backbone, read_norm(backbone.unused), read_decoder(*beside), read_head(*beside))


def _tensors(whole: _Whole, layout: Layout) -> dict[str, np.ndarray]:
    """Returns all tensors by their names in a layout."""
    backbone, norm, decoder, head = whole
    leaves = list(encoder_leaves(backbone.vit, norm is not None))
    params: Params = {"encoder": {**backbone.params, **({"norm": norm} if norm else {})}}
    if decoder:
        leaves += decoder_leaves(decoder.config.decoder.depth)
        params |= decoder.params
    if head:
        leaves += head_leaves(head.config.mean_pooling)
        params |= head.params
    is_pre_training = decoder is not None or (head is None and backbone.is_pre_trained)
    naming = network_naming((PRETRAINING_ENCODERS if is_pre_training else CLASSIFIER_ENCODERS)[layout])
    positions = write_positions(params, backbone.vit, naming)
    if (own := backbone.unused.get("pos_embed")) is not None and positions:  # of the file, bit for bit
        positions = {naming.parts(POSITIONS)[0]: own.reshape(1, -1, backbone.vit.width)}
    return write_leaves(leaves, params, naming) | positions


def _record(backbone: LoadedBackbone, layout: Layout) -> dict[str, Any]:
    """Returns what no tensor of a file shows, to be kept in it."""
    return {
        "config": {},
        "classes": list(backbone.beside.classes or ()),
        "encoder": {"heads": backbone.heads, "image_size": backbone.image_size, "norm_eps": backbone.norm_eps},
        "beside": dataclasses.replace(backbone.beside, layout=layout).record(),
    }


def _hugging_face(source: Path, whole: _Whole) -> dict[str, Any]:
    """Returns the configuration of a Hugging Face folder; raises `UserError` if attention heads are not known."""
    backbone, norm, decoder, head = whole
    if backbone.heads is None or (decoder and decoder.heads is None):
        raise UserError(
            f"{source}: nothing shows the attention heads of {'the decoder' if backbone.heads else 'the encoder'}, "
            "which a folder of Hugging Face needs: name a file as the output, which does not"
        )
    mean_pooling = head.config.mean_pooling if head else norm is None
    return model_config(
        backbone.vit,
        mean_pooling,
        decoder.config.decoder if decoder else None,
        (backbone.beside.classes or range(head.config.classes)) if head else None,
    )


def _parts(whole: _Whole) -> str:
    """Names the parts of a VideoMAE."""
    parts = [
        "encoder",
        *(["norm after it"] if whole.norm else []),
        *(["decoder"] if whole.decoder else []),
        *([f"classifier of {whole.head.config.classes} classes"] if whole.head else []),
    ]
    return ", ".join(parts)


def _notes(whole: _Whole, layout: Layout) -> list[str]:
    """Returns what the file does not hold, or what other programs compute in another way."""
    backbone, notes = whole.backbone, []
    if backbone.adapters is not None:
        notes.append("adapters are left out: no layout of a VideoMAE has them")
    if layout is Layout.MMACTION and backbone.image_size is None:
        notes.append(f"table of positions for {backbone.vit.image_size} px, which nothing in {backbone.origin} shows")
    if layout is Layout.HUGGING_FACE:
        if "pos_embed" in backbone.params:
            notes.append("positions of its own are written, but transformers computes with fixed sinusoids")
        if (whole.decoder or whole.head) and backbone.beside.head_norm_eps != PYTORCH_EPS:
            notes.append(
                f"norm before the head: trained with epsilon {backbone.beside.head_norm_eps:g}, transformers computes "
                f"it with {PYTORCH_EPS:g}"
            )
    return notes
