"""The map from PyTorch tensors to parameter leaves: which tensors make up each leaf, and how their axes are permuted.

A leaf is one tensor, or several stacked on a leading axis (the scanned blocks; the head's scale per level). The torch
names are those of mmaction's VideoMAE and of the AdaTAD release. Only the names of `model_leaves`, for a whole
detector, include the backbone's prefix. In those of `autoencoder_leaves` and `classifier_leaves`, `encoder.` stands for
the prefix that a file has (`names.network_naming`).
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from adatad_jax.models.sizes import AutoencoderConfig, ClassifierConfig, DetectorConfig, ViTConfig

Path = tuple[str, ...]

BACKBONE_PREFIX = "backbone.model.backbone."  # prefix of the backbone's names in a whole detector

VECTOR = (0,)
LINEAR = (1, 0)  # [out, in] -> [in, out]
CONV1D = (2, 1, 0)  # [out, in, k] -> [k, in, out]
CONV3D = (2, 3, 4, 1, 0)  # [out, in, t, h, w] -> [t, h, w, in, out]


@dataclass(frozen=True)
class Leaf:
    """The origin of one parameter leaf.

    Attributes:
      path: path of the leaf in the parameter tree.
      keys: names of the torch tensors that make up the leaf.
      axes: the permutation from the axes of a torch tensor to those of the leaf.
      squeeze: torch axes of size 1 that the leaf does not have; removed before the permutation.
      stacked: whether the tensors are stacked on a leading axis (even if there is only one tensor).
    """

    path: Path
    keys: tuple[str, ...]
    axes: tuple[int, ...]
    squeeze: tuple[int, ...] = ()
    stacked: bool = False

    def torch_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape that each torch tensor must have for a leaf of `shape`."""
        ours = shape[1:] if self.stacked else shape
        squeezed = [0] * len(self.axes)
        for axis, size in zip(self.axes, ours, strict=True):
            squeezed[axis] = size
        for axis in self.squeeze:
            squeezed.insert(axis, 1)
        return tuple(squeezed)

    def read(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """Assembles the leaf from the torch tensors in `state`, as float32."""
        tensors = [
            np.squeeze(np.asarray(state[key], np.float32), self.squeeze).transpose(self.axes) for key in self.keys
        ]
        return np.ascontiguousarray(np.stack(tensors) if self.stacked else tensors[0])

    def write(self, value: np.ndarray) -> dict[str, np.ndarray]:
        """Splits the leaf into its torch tensors, by name: the inverse of `read`."""
        shape = self.torch_shape(np.shape(value))
        parts = np.asarray(value) if self.stacked else [np.asarray(value)]
        turned = (np.asarray(part).transpose(np.argsort(self.axes)).reshape(shape) for part in parts)
        return dict(zip(self.keys, turned, strict=True))


@dataclass
class _Leaves:
    """Collects leaves under one path, from tensors with one prefix or with several stacked ones."""

    path: Path
    prefixes: tuple[str, ...]
    stacked: bool = False
    found: list[Leaf] = field(default_factory=list)

    def add(self, path: str, key: str, axes: tuple[int, ...], squeeze: tuple[int, ...] = ()) -> None:
        """Adds a leaf that is made of the tensor `key` behind each prefix."""
        keys = tuple(prefix + key for prefix in self.prefixes)
        self.found.append(Leaf(self.path + tuple(path.split("/")), keys, axes, squeeze, self.stacked))

    def linear(self, path: str, key: str, axes: tuple[int, ...] = LINEAR, squeeze: tuple[int, ...] = ()) -> None:
        """Adds the kernel and bias of a linear or convolutional layer."""
        self.add(f"{path}/kernel", f"{key}.weight", axes, squeeze)
        self.add(f"{path}/bias", f"{key}.bias", VECTOR)

    def norm(self, path: str, key: str) -> None:
        """Adds the scale and bias of a norm."""
        self.add(f"{path}/scale", f"{key}.weight", VECTOR)
        self.add(f"{path}/bias", f"{key}.bias", VECTOR)


POINTWISE_SQUEEZE = (2,)  # a 1x1 conv [out, in, 1] is a dense kernel [in, out] here


def block_leaves(path: Path, first: int, last: int) -> Iterator[Leaf]:
    """Yields the frozen leaves of blocks first..last (inclusive), stacked."""
    leaves = _Leaves(path, tuple(f"blocks.{i}." for i in range(first, last + 1)), stacked=True)
    leaves.norm("norm1", "norm1")
    leaves.add("attn/q_bias", "attn.q_bias", VECTOR)
    leaves.add("attn/v_bias", "attn.v_bias", VECTOR)
    leaves.add("attn/qkv/kernel", "attn.qkv.weight", LINEAR)
    leaves.linear("attn/proj", "attn.proj")
    leaves.norm("norm2", "norm2")
    leaves.linear("mlp/fc1", "mlp.layers.0.0")
    leaves.linear("mlp/fc2", "mlp.layers.1")
    yield from leaves.found


def tia_leaves(path: Path, prefixes: tuple[str, ...]) -> Iterator[Leaf]:
    """Yields the leaves of the adapters whose tensors have these prefixes, stacked."""
    leaves = _Leaves((*path, "tia"), prefixes, stacked=True)
    leaves.add("gamma", "gamma", (), (0,))
    leaves.linear("down", "down_proj")
    leaves.linear("depthwise", "dwconv", CONV1D)
    leaves.linear("pointwise", "conv", LINEAR, POINTWISE_SQUEEZE)
    leaves.linear("up", "up_proj")
    yield from leaves.found


def backbone_leaves(vit: ViTConfig) -> Iterator[Leaf]:
    """Yields all leaves of the backbone and its adapters; side adapters have their own numbers, by rising block."""
    patch = _Leaves(("patch_embed",), ("patch_embed.",))
    patch.add("kernel", "projection.weight", CONV3D)
    patch.add("bias", "projection.bias", VECTOR)
    yield from patch.found
    for first, last, has_tia in vit.runs():
        path = (f"blocks_{first}_{last}",)
        yield from block_leaves(path, first, last)
        if has_tia:
            blocks = range(first, last + 1)
            if vit.side:
                prefixes = tuple(f"ladders.adapters.{vit.tia_blocks.index(block)}." for block in blocks)
            else:
                prefixes = tuple(f"blocks.{block}.adapter." for block in blocks)
            yield from tia_leaves(path, prefixes)


def encoder_leaves(vit: ViTConfig, norm: bool) -> Iterator[Leaf]:
    """Yields the leaves of an `Encoder`, with the LayerNorm after its last block if it has one."""
    for leaf in backbone_leaves(vit):
        yield dataclasses.replace(leaf, path=("encoder", *leaf.path), keys=tuple(f"encoder.{key}" for key in leaf.keys))
    if norm:
        last = _Leaves(("encoder",), ("encoder.",))
        last.norm("norm", "norm")
        yield from last.found


def decoder_leaves(depth: int) -> Iterator[Leaf]:
    """Yields the leaves of a `MaskedAutoencoder` beside its encoder; its decoder has `depth` blocks.

    mmaction has no decoder: its blocks get the encoder's names.
    """
    yield Leaf(("encoder_to_decoder", "kernel"), ("encoder_to_decoder.weight",), LINEAR)
    yield Leaf(("mask_token",), ("mask_token",), VECTOR, (0, 1))
    for leaf in block_leaves(("decoder", f"blocks_0_{depth - 1}"), 0, depth - 1):
        yield dataclasses.replace(leaf, keys=tuple(f"decoder.{key}" for key in leaf.keys))
    rest = _Leaves(("decoder",), ("decoder.",))
    rest.norm("norm", "norm")
    rest.linear("head", "head")
    yield from rest.found


def head_leaves(mean_pooling: bool) -> Iterator[Leaf]:
    """Yields the leaves of a `Classifier` beside its encoder."""
    rest = _Leaves((), ("",))
    if mean_pooling:
        rest.norm("fc_norm", "fc_norm")
    rest.linear("head", "cls_head.fc_cls")
    yield from rest.found


def autoencoder_leaves(config: AutoencoderConfig) -> Iterator[Leaf]:
    """Yields all leaves of a `MaskedAutoencoder`."""
    yield from encoder_leaves(config.encoder, config.encoder_norm)
    yield from decoder_leaves(config.decoder.depth)


def classifier_leaves(config: ClassifierConfig) -> Iterator[Leaf]:
    """Yields all leaves of a `Classifier`."""
    yield from encoder_leaves(config.encoder, not config.mean_pooling)
    yield from head_leaves(config.mean_pooling)


def detector_leaves(config: DetectorConfig) -> Iterator[Leaf]:
    """Yields all leaves of the ActionFormer detector, with the tensor names of the release."""
    for i in range(config.embed):
        yield from _masked_conv(("projection", f"embed_{i}"), f"projection.embed.{i}.")
    for name, count in (("stem", config.stem), ("branch", config.branch)):
        for i in range(count):
            yield from _transformer_block(("projection", f"{name}_{i}"), f"projection.{name}.{i}.")
    for level in range(len(config.strides)):
        norm = _Leaves(("neck",), ("neck.",))
        norm.norm(f"norm_{level}", f"fpn_norms.{level}")
        yield from norm.found
    for tower, convs, out in (("class_tower", "cls_convs", "cls_head"), ("boundary_tower", "reg_convs", "reg_head")):
        for i in range(config.head_convs):
            yield from _masked_conv(("head", tower, f"conv_{i}"), f"rpn_head.{convs}.{i}.")
        last = _Leaves(("head", tower), ("rpn_head.",))
        last.linear("out", out, CONV1D)
        yield from last.found
    scales = tuple(f"rpn_head.scale.{level}.scale" for level in range(len(config.strides)))
    yield Leaf(("head", "scale"), scales, (), stacked=True)


def model_leaves(vit: ViTConfig, config: DetectorConfig) -> Iterator[Leaf]:
    """Yields all leaves of an `AdaTAD`, with the tensor names that the release gives a whole detector."""
    for leaf in backbone_leaves(vit):
        keys = tuple(BACKBONE_PREFIX + key for key in leaf.keys)
        yield dataclasses.replace(leaf, path=("backbone", *leaf.path), keys=keys)
    for leaf in detector_leaves(config):
        yield dataclasses.replace(leaf, path=("detector", *leaf.path))


def _masked_conv(path: Path, prefix: str) -> list[Leaf]:
    """Returns the leaves of a `MaskedConv`."""
    leaves = _Leaves(path, (prefix,))
    leaves.add("conv/kernel", "conv.weight", CONV1D)
    leaves.norm("norm", "norm")
    return leaves.found


def _transformer_block(path: Path, prefix: str) -> list[Leaf]:
    """Returns the leaves of a `TransformerBlock`."""
    leaves = _Leaves(path, (prefix,))
    leaves.norm("ln1", "ln1")
    leaves.norm("ln2", "ln2")
    for name in ("query", "key", "value"):
        leaves.add(f"attn/{name}_conv/kernel", f"attn.{name}_conv.conv.weight", CONV1D)
        leaves.norm(f"attn/{name}_norm", f"attn.{name}_norm")
        leaves.linear(f"attn/{name}", f"attn.{name}", LINEAR, POINTWISE_SQUEEZE)
    leaves.linear("attn/proj", "attn.proj", LINEAR, POINTWISE_SQUEEZE)
    leaves.linear("fc1", "mlp.0", LINEAR, POINTWISE_SQUEEZE)
    leaves.linear("fc2", "mlp.3", LINEAR, POINTWISE_SQUEEZE)
    for name in ("drop_path_attn", "drop_path_mlp"):
        leaves.add(f"{name}/scale", f"{name}.scale", VECTOR, (0, 2))
    return leaves.found
