"""The tensor names of published VideoMAE files, and the recognition of a file's layout.

The common names, to which the others are mapped, are mmaction's without the prefix `backbone.`, as in
`conversion/layout.py`.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from adatad_jax.conversion.detector_backbone import other_head
from adatad_jax.errors import UserError


class Layout(Enum):
    """A family of files; the value is the name of the family in messages."""

    MMACTION = "mmaction VideoMAE"
    ORIGINAL = "original VideoMAE"
    HUGGING_FACE = "Hugging Face VideoMAE"
    DETECTOR = "AdaTAD detector"
    SIDE_DETECTOR = "AdaTAD detector with side adapters"


DETECTORS = (Layout.DETECTOR, Layout.SIDE_DETECTOR)
# The tensor that identifies a layout: no other layout has it, and whatever precedes its name is the file's prefix.
PATCH_EMBEDDING = {
    Layout.MMACTION: "patch_embed.projection.weight",
    Layout.ORIGINAL: "patch_embed.proj.weight",
    Layout.HUGGING_FACE: "embeddings.patch_embeddings.projection.weight",
}
# Parts of mmaction's names and their replacements, in the order in which they are applied.
RENAMED = {
    Layout.ORIGINAL: (
        ("patch_embed.projection.", "patch_embed.proj."),
        ("mlp.layers.0.0.", "mlp.fc1."),
        ("mlp.layers.1.", "mlp.fc2."),
    ),
    Layout.HUGGING_FACE: (
        ("patch_embed.", "embeddings.patch_embeddings."),
        ("blocks.", "encoder.layer."),
        ("norm1.", "layernorm_before."),
        ("norm2.", "layernorm_after."),
        ("attn.proj.", "attention.output.dense."),
        ("attn.", "attention.attention."),
        ("mlp.layers.0.0.", "intermediate.dense."),
        ("mlp.layers.1.", "output.dense."),
    ),
}
# `state_dict()` of transformers 5 names the biases differently from its saved files.
LIVE_BIASES = (("q_bias", "query.bias"), ("v_bias", "value.bias"))
OUTER = r"^(?:(?:module|model|backbone)\.)+"  # possible prefix of tensors outside the encoder


@dataclass(frozen=True)
class UnusedTensors:
    """Tensors that a file holds beside the encoder. Detectors do not use them; whole networks do.

    Attributes:
      pattern: regular expression of the whole name, after the file's prefix.
      name: mmaction's name, as a replacement for the pattern; None where mmaction has no such tensor.
      meaning: what the tensors are, and what uses them.
    """

    pattern: str
    name: str | None
    meaning: str


UNUSED = (
    UnusedTensors(r"fc_norm\.(weight|bias)", r"fc_norm.\1", "norm of the classifier, for fine-tuning and classify"),
    UnusedTensors(
        r"(?:cls_head\.fc_cls|head|classifier)\.(weight|bias)",
        r"cls_head.fc_cls.\1",
        "classifier, for fine-tuning and classify",
    ),
    UnusedTensors(
        r"(?:norm|layernorm)\.(?:weight|bias)",
        None,
        "norm after the encoder, for masked pre-training and classifiers without fc_norm",
    ),
    UnusedTensors(r"decoder\..+|encoder_to_decoder\.weight|mask_token", None, "decoder, for masked pre-training"),
)


@dataclass(frozen=True)
class Naming:
    """The tensor names of one file.

    Attributes:
      layout: the file's layout.
      prefix: prefix of every tensor of the encoder.
      renamed: parts of mmaction's names and the file's replacements, applied in this order.
      has_biases: whether q and v have a bias; if not, the bias is zero.
    """

    layout: Layout
    prefix: str = ""
    renamed: tuple[tuple[str, str], ...] = ()
    has_biases: bool = True

    def parts(self, name: str) -> tuple[str, ...]:
        """Returns the file's tensors that, joined on their first axis, make up mmaction's `name`; () means zeros."""
        if not self.has_biases and name.endswith(("attn.q_bias", "attn.v_bias")):
            return ()
        joined = name
        for ours, theirs in self.renamed:
            joined = joined.replace(ours, theirs)
        if self.layout is Layout.HUGGING_FACE and name.endswith("attn.qkv.weight"):
            return tuple(self.prefix + joined.replace("qkv.", f"{part}.") for part in ("query", "key", "value"))
        return (self.prefix + joined,)

    def bare(self, key: str) -> str:
        """Returns a name of the file without its prefix."""
        return key[len(self.prefix) :] if key.startswith(self.prefix) and self.prefix else re.sub(OUTER, "", key)

    def unused(self, key: str) -> tuple[str, str] | None:
        """Returns the name under which a tensor beside the encoder is kept, and what it is; None for all others."""
        bare = self.bare(key)
        for known in UNUSED:
            if match := re.fullmatch(known.pattern, bare):
                return match.expand(known.name) if known.name else key, known.meaning
        return None


MMACTION = Naming(Layout.MMACTION)

# The encoders of whole networks as their authors write them.
PRETRAINING_ENCODERS = {
    Layout.MMACTION: Naming(Layout.MMACTION, "backbone."),
    Layout.ORIGINAL: Naming(Layout.ORIGINAL, "encoder.", RENAMED[Layout.ORIGINAL]),
    Layout.HUGGING_FACE: Naming(Layout.HUGGING_FACE, "videomae.", RENAMED[Layout.HUGGING_FACE]),
}
CLASSIFIER_ENCODERS = {
    **PRETRAINING_ENCODERS,
    Layout.ORIGINAL: replace(PRETRAINING_ENCODERS[Layout.ORIGINAL], prefix=""),
}
# Tensors beside the encoder's blocks: parts of their names in `layout`, and those of a file. ENCODER stands for the
# prefix of the file's encoder, by which it is replaced last.
ENCODER = "encoder."
BESIDE = {
    Layout.MMACTION: (("fc_norm.", f"{ENCODER}fc_norm."),),
    Layout.ORIGINAL: (("cls_head.fc_cls.", "head."),),
    Layout.HUGGING_FACE: (
        ("cls_head.fc_cls.", "classifier."),
        ("decoder.blocks.", "decoder.decoder_layers."),
        (f"{ENCODER}norm.", f"{ENCODER}layernorm."),
    ),
}


def network_naming(encoder: Naming, outer: str = "") -> Naming:
    """Returns the tensor names of a whole network: an encoder with a decoder or a classifier.

    Its `parts` takes the names of `layout.autoencoder_leaves` and `layout.classifier_leaves`.

    Args:
      encoder: names of the encoder, from `recognise`, `PRETRAINING_ENCODERS` or `CLASSIFIER_ENCODERS`.
      outer: prefix of all the network's tensors, such as `module.`; the encoder's prefix begins with it.
    """
    inner = (ENCODER, encoder.prefix.removeprefix(outer))
    return replace(encoder, prefix=outer, renamed=(*BESIDE[encoder.layout], inner, *encoder.renamed))


def recognise(keys: Collection[str], source: Path) -> Naming:
    """Recognises the layout of a file from the names of its tensors.

    Args:
      keys: names of the tensors.
      source: the file, for messages.

    Raises:
      UserError: the file has none of the known layouts, holds more than one VideoMAE, or is a detector of another head.
    """
    if head := other_head(keys):
        raise UserError(
            f"{source}: {head} on an AdaTAD backbone; only detectors with AdaTAD's own head, ActionFormer's, are "
            f"converted. To train from its backbone and adapters: adatad convert {source} FOLDER --backbone-only, then "
            "--config.weights=FOLDER"
        )
    if any("ladders.adapters." in key for key in keys):
        return Naming(Layout.SIDE_DETECTOR)
    if any("rpn_head." in key for key in keys):
        return Naming(Layout.DETECTOR)
    found = [
        (layout, key.removesuffix(mark), key)
        for key in keys
        for layout, mark in PATCH_EMBEDDING.items()
        if key == mark or key.endswith(f".{mark}")
    ]
    if not found:
        expected = ", ".join(f"{mark} ({layout.value})" for layout, mark in PATCH_EMBEDDING.items())
        raise UserError(
            f"{source}: not a VideoMAE: expected one of {expected}, with or without a prefix such as backbone., or a "
            f"whole AdaTAD detector (rpn_head.*); none is among its {len(keys)} tensors: {', '.join(list(keys)[:8])}"
            f"{', ...' if len(keys) > 8 else ''}"
        )
    if len(found) > 1:
        names = ", ".join(f"{key} ({layout.value})" for layout, _, key in found)
        raise UserError(
            f"{source}: a mixture of {len(found)} networks or layouts: {names}; give a file with only one of them"
        )
    layout, prefix, _ = found[0]
    return with_biases(Naming(layout, prefix, RENAMED.get(layout, ())), [key for key in keys if key.startswith(prefix)])


def with_biases(naming: Naming, keys: Collection[str]) -> Naming:
    """Returns a naming with the names that a file's attention has for its biases, if it has any.

    Args:
      naming: of the file.
      keys: names of the tensors that show it.
    """
    if naming.layout is not Layout.HUGGING_FACE:
        return naming
    biases = {key.split("attention.attention.")[-1] for key in keys}
    if biases & {live for _, live in LIVE_BIASES} and not biases & {saved for saved, _ in LIVE_BIASES}:
        return replace(naming, renamed=LIVE_BIASES + naming.renamed)
    return replace(naming, has_biases=bool(biases & {name for pair in LIVE_BIASES for name in pair}))
