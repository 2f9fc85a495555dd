"""Conversion of a VideoMAE checkpoint of any layout to the backbone's frozen parameters; accounts for every tensor."""

import dataclasses
import re
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from adatad_jax.conversion.assembly import POSITION_TOLERANCE, Shapes, assemble
from adatad_jax.conversion.beside import Beside, has_classifier
from adatad_jax.conversion.detector_backbone import Adapters
from adatad_jax.conversion.hugging_face import HEADS, NORM_EPS, read_settings
from adatad_jax.conversion.layout import backbone_leaves
from adatad_jax.conversion.names import Layout, Naming, recognise
from adatad_jax.conversion.torch_file import TensorFile, foreign_note
from adatad_jax.errors import UserError
from adatad_jax.models.backbone import Backbone
from adatad_jax.models.layers import Params
from adatad_jax.models.positions import sinusoid_table
from adatad_jax.models.sizes import CHUNK_FRAMES, CHUNK_TUBELETS, SIZES, TUBELET, ViTConfig

PRE_TRAINED = " (pre-training)"  # end of a layout's name
PATCH_TENSORS = 2  # weight and bias
ADAPTER_TENSORS = 9  # gamma, and weight and bias of down, depthwise, pointwise, up
NOT_FINE_TUNED = (
    "pre-training without fine-tuning: the published runs start from weights that were fine-tuned to classify actions; "
    "from these, expect a lower mAP"
)


@dataclass(frozen=True)
class ConvertedBackbone:
    """A converted backbone, and what became of each tensor.

    Attributes:
      params: frozen parameters of a `Backbone` without adapters, float32, all blocks in one stack.
      source: the file's name.
      layout: the layout in words, such as "Hugging Face VideoMAE (pre-training)".
      size: the name in `SIZES`, or "custom".
      config: the dimensions, and the epsilon of the norms.
      heads, image_size: None where neither the file nor its size shows them (`config` then holds placeholders).
      read: number of tensors in the file.
      groups: part of the backbone -> number of tensors mapped to its parameters.
      left_out: tensor that is no parameter of a `Backbone` -> what it is.
      unused: these tensors, unchanged; under mmaction's names (without `backbone.`) where mmaction has such a tensor,
        else under the file's names. `conversion.beside` reads a decoder or a classifier from them.
      beside: what is known of these tensors.
      notes: remarks on the file, such as what it does not show and had to be assumed.
      adapters: of a detector; None for a VideoMAE.
    """

    params: Params
    source: str
    layout: str
    size: str
    config: ViTConfig
    heads: int | None
    image_size: int | None
    read: int
    groups: dict[str, int]
    left_out: dict[str, str]
    unused: dict[str, np.ndarray]
    beside: Beside
    notes: tuple[str, ...]
    adapters: Adapters | None = None

    @property
    def mapped(self) -> int:
        """Returns the number of tensors that became parameters."""
        return sum(self.groups.values())

    def summary(self) -> str:
        """Returns the conversion summary, for a terminal."""
        dims = self.config
        lines = [
            f"layout  {self.layout}, size {self.size}: width {dims.width}, depth {dims.depth}, "
            f"heads {self.heads or 'unknown'}, MLP {dims.mlp_hidden}, patch {dims.patch}, "
            f"pre-trained on {dims.image_size} px{'' if self.image_size else ' (assumed)'}, "
            f"norm epsilon {dims.norm_eps:g}",
            f"read    {self.read} tensors",
            f"mapped  {self.mapped} tensors, {count_parameters(self.params):,} parameters: "
            + ", ".join(f"{name} {count}" for name, count in self.groups.items()),
            f"beside  {len(self.left_out)} tensors that a detector does not use, kept as they are:",
            *(f"  {key}: {reason}" for key, reason in self.left_out.items()),
            self._adapters(),
            *(f"note    {note}" for note in self.notes),
        ]
        return "\n".join(lines)

    def _adapters(self) -> str:
        """Says what becomes of the adapters."""
        if self.adapters is None:
            return (
                f"initialised when a detector is trained: TIA adapters, {ADAPTER_TENSORS} tensors per block "
                f"({ADAPTER_TENSORS * self.config.depth} in all {self.config.depth} blocks), and its head"
            )
        kind = "side adapters of" if self.adapters.side else "TIA adapters in"
        return (
            f"adapters {ADAPTER_TENSORS * len(self.adapters.blocks)} tensors, "
            f"{count_parameters(self.adapters.params):,} parameters: {kind} blocks "
            f"{', '.join(map(str, self.adapters.blocks))}, hidden {self.adapters.hidden}: a training starts from them; "
            "the detector is initialised then"
        )

    def record(self) -> dict[str, object]:
        """Returns the conversion summary for `conversion.json`."""
        adapters = self.adapters
        return {
            "source": self.source,
            "layout": self.layout,
            "size": self.size,
            "dimensions": dataclasses.asdict(self.config),
            "heads": self.heads,
            "image_size": self.image_size,
            "norm_eps": self.config.norm_eps,
            "read": self.read,
            "mapped": self.mapped,
            "groups": self.groups,
            "parameters": count_parameters(self.params),
            "left_out": self.left_out,
            "beside": self.beside.record(),
            "initialised": {"adapters": 0 if adapters else ADAPTER_TENSORS * self.config.depth},
            "adapters": adapters._replace(params={})._asdict() if adapters else None,
            "notes": self.notes,
            "account": self.summary(),
        }


def count_parameters(params: Params) -> int:
    """Counts the scalars in a tree of arrays."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))


def convert_backbone(file: TensorFile) -> ConvertedBackbone:
    """Converts the tensors of a VideoMAE file, whose layout is recognised.

    Raises:
      UserError: the file is of another network or of a whole detector; its `config.json` does not fit; or tensors are
        missing, have a wrong shape or type, or are unknown (lists all of them, by the file's own names).
    """
    naming = recognise(file.tensors, file.path)
    if naming.layout in (Layout.DETECTOR, Layout.SIDE_DETECTOR):
        raise UserError(
            f"{file.path}: an {naming.layout.value}, where a VideoMAE backbone is expected; use it as a checkpoint "
            "(python -m adatad_jax.evaluate --checkpoint), or convert it by convert/pth_to_flax.py, with "
            "--backbone-only if another training is to start from its backbone and adapters"
        )
    config = _dimensions(file, naming)
    size = next((name for name, known in SIZES.items() if _shapes(known) == _shapes(config)), "custom")
    naming, heads, image_size, norm_eps, beside, notes = _settings(file, naming, config, size)
    positions = naming.parts("pos_embed")[0]
    table = file.tensors.get(positions)
    unused, left_out, problems = _find_unused(file, naming, config.width)
    if table is not None:
        grid = round((table.size / (CHUNK_TUBELETS * config.width)) ** 0.5)
        image_size = grid * config.patch
        if table.size != CHUNK_TUBELETS * grid * grid * config.width or table.shape[-1] != config.width:
            expected = f"(1, {CHUNK_TUBELETS} * grid * grid, {config.width})"
            problems.append(f"wrong shape: {positions} is {table.shape}, expected {expected}")
    config = dataclasses.replace(
        config, heads=heads or 1, image_size=image_size or config.image_size, norm_eps=norm_eps
    )
    leaves, shapes = list(backbone_leaves(config)), backbone_shapes(config)
    spare = {positions} | {key for key in file.tensors if naming.unused(key)}
    params, used = assemble(leaves, shapes, file.tensors, file.path, spare, naming, problems)
    groups = {"patch embedding": PATCH_TENSORS, "blocks": used - PATCH_TENSORS, "adapters": 0}
    if table is not None:
        learned = np.asarray(table, np.float32).reshape(-1, config.width)
        apart = float(np.abs(learned - sinusoid_table(*learned.shape)).max())
        if apart <= POSITION_TOLERANCE:
            left_out["pos_embed"] = f"recomputed as the fixed sinusoid table, which differs by {apart:.1e} at most"
            unused["pos_embed"] = table
        else:
            params["pos_embed"] = learned
            groups["positions"] = 1
            notes.append(f"the file's own positions are used: they differ from the fixed sinusoid table by {apart:.1e}")
    kind = _kind(unused, naming)
    notes += [NOT_FINE_TUNED] * (kind == PRE_TRAINED)
    return ConvertedBackbone(
        params=params,
        source=file.path.name,
        layout=naming.layout.value + kind,
        size=size,
        config=config,
        heads=heads,
        image_size=image_size,
        read=len(file.tensors),
        groups=groups,
        left_out=left_out,
        unused=unused,
        beside=beside if has_classifier(unused) else dataclasses.replace(beside, classes=None),
        notes=tuple(notes),
    )


class _Settings(NamedTuple):
    """What no tensor shows, and notes for the conversion summary; fields as in `ConvertedBackbone` and `Naming`."""

    naming: Naming
    heads: int | None
    image_size: int | None
    norm_eps: float
    beside: Beside
    notes: list[str]


def _settings(file: TensorFile, naming: Naming, config: ViTConfig, size: str) -> _Settings:
    """Returns what no tensor shows: from the `config.json` of Hugging Face, else from the size or by default."""
    heads = SIZES[size].heads if size in SIZES else HEADS.get(config.width)
    image_size: int | None = None
    norm_eps = config.norm_eps
    beside = Beside.of_layout(naming.layout)
    notes: list[str] = []
    if file.record:  # this package wrote the file
        beside, encoder = Beside.of_record(file.record, file.path), file.record.get("encoder", {})
        heads, image_size = encoder.get("heads", heads), encoder.get("image_size")
        norm_eps = encoder.get("norm_eps", norm_eps)
    elif naming.layout is Layout.HUGGING_FACE and file.config:
        settings = read_settings(file.config, _shown(config), file.path)
        heads, image_size, norm_eps = settings.heads, settings.image_size, settings.norm_eps
        naming = dataclasses.replace(naming, has_biases=settings.has_biases)
        beside = dataclasses.replace(beside, decoder_heads=settings.decoder_heads)
    elif naming.layout is Layout.HUGGING_FACE:
        norm_eps = NORM_EPS
        notes.append(f"no config.json beside the weights: transformers' default norm epsilon, {NORM_EPS:g}, is used")
    if not naming.has_biases:
        notes.append("the file's attention has no biases on q and v: they are set to zero")
    if file.averaged is file.tensors:
        notes.append("the file holds only a moving average, which is used")
    elif file.averaged:
        notes.append(f"the moving average in the file, {len(file.averaged)} tensors, is not used")
    if file.foreign:
        notes.append(foreign_note(file))
    if size not in SIZES:
        notes.append(f"no configuration takes a backbone of this size: config.model.size is one of {', '.join(SIZES)}")
    return _Settings(naming, heads, image_size, norm_eps, beside, notes)


def _shown(config: ViTConfig) -> dict[str, int]:
    """Returns the dimensions under the names of a Hugging Face `config.json`."""
    return {
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "intermediate_size": config.mlp_hidden,
        "patch_size": config.patch,
    }


def _kind(unused: Iterable[str], naming: Naming) -> str:
    """Returns the kind of network, as an addition to the layout's name, by its tensors beside the encoder."""
    if any("decoder" in key or key.endswith("mask_token") for key in unused):
        return PRE_TRAINED
    if naming.layout is Layout.ORIGINAL and naming.prefix.endswith("encoder."):  # fine-tuned networks have no prefix
        return PRE_TRAINED
    return " (fine-tuned)" if any(key.startswith("cls_head.") for key in unused) else ""


def _find_unused(
    file: TensorFile, naming: Naming, width: int
) -> tuple[dict[str, np.ndarray], dict[str, str], list[str]]:
    """Returns the tensors beside the encoder, why each is unused, and what is wrong with them."""
    unused: dict[str, np.ndarray] = {}
    left_out, problems = {}, []
    for key, value in file.tensors.items():
        known = naming.unused(key)
        if known is None:
            continue
        name, reason = known
        if name in unused:
            problems.append(f"duplicate: {key} is a second {name}")
        shape = value.shape
        if re.match(r"(fc_|layer)?norm\.", naming.bare(key)):
            shape = (width,)
        elif name == "cls_head.fc_cls.weight":
            shape = (*value.shape[:1], width)
        if value.shape != shape:
            problems.append(f"wrong shape: {key} is {value.shape}, expected {shape}")
        unused[name], left_out[name] = value, reason
    return unused, left_out, problems


def backbone_shapes(config: ViTConfig) -> Shapes:
    """Returns path -> shape for every leaf of a backbone of these dimensions."""
    frames = jax.ShapeDtypeStruct((1, CHUNK_FRAMES, config.image_size, config.image_size, 3), jnp.uint8)
    shapes = jax.eval_shape(Backbone(config).init, jax.random.key(0), frames)["params"]
    return {path: leaf.shape for path, leaf in flax.traverse_util.flatten_dict(shapes).items()}


def _shapes(config: ViTConfig) -> tuple[int, int, int, int]:
    """Returns the dimensions that the tensors show: width, depth, MLP size and patch side."""
    return config.width, config.depth, config.mlp_hidden, config.patch


def _dimensions(file: TensorFile, naming: Naming) -> ViTConfig:
    """Reads width, depth, MLP size and patch side off the tensors that show them."""
    kernel = naming.parts("patch_embed.projection.weight")[0]
    shape = file.tensors[kernel].shape
    if len(shape) != 5 or shape[1:3] != (3, TUBELET) or shape[3] != shape[4]:
        raise UserError(
            f"{file.path}: not a VideoMAE: {kernel} is {shape}, expected (width, 3, {TUBELET}, patch, patch), a "
            "patch embedding over pairs of frames"
        )
    index = re.escape(naming.parts("blocks.")[0]) + r"(\d+)\."
    blocks = {int(match[1]) for key in file.tensors if (match := re.match(index, key))}
    depth = max(blocks, default=0) + 1
    if depth > len(file.tensors):
        raise UserError(f"{file.path}: has a block numbered {depth - 1}, but only {len(file.tensors)} tensors in all")
    first_layers = [naming.parts(f"blocks.{i}.mlp.layers.0.0.weight")[0] for i in range(depth)]
    hidden = [file.tensors[key].shape[0] for key in first_layers if key in file.tensors and file.tensors[key].ndim == 2]
    if not hidden:
        raise UserError(
            f"{file.path}: not a whole VideoMAE ({naming.layout.value}): {first_layers[0]} is missing, as is that of "
            f"every other block; it holds {len(file.tensors)} tensors: {', '.join(list(file.tensors)[:8])}, ..."
        )
    # The most frequent size: in a file of mixed sizes, the message then lists the deviating blocks.
    return ViTConfig(width=shape[0], depth=depth, heads=1, mlp_hidden=statistics.mode(hidden), patch=shape[4])
