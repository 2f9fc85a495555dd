"""Random detectors with the tensor names and shapes of the PyTorch release."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from adatad_jax.config.fields import Config

BACKBONE = "backbone.model.backbone."
IMAGE_SIZE = 32
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Release:
    """The dimensions of a detector; by default, its backbone is "tiny"."""

    width: int = 64
    depth: int = 3
    mlp: int = 256
    patch: int = 16
    grid: int = IMAGE_SIZE // 16
    adapters: tuple[int, ...] = ()
    side_adapters: int = 0
    hidden: int = 16
    detector: int = 16
    embed: int = 2
    stem: int = 1
    branch: int = 2
    convs: int = 2
    classes: int = 3

    def shapes(self) -> dict[str, tuple[int, ...]]:
        c, d, h = self.width, self.detector, self.hidden
        shapes: dict[str, tuple[int, ...]] = {}

        def linear(name: str, *shape: int) -> None:
            shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, (shape[0],)

        def norm(name: str, size: int) -> None:
            shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (size,), (size,)

        def adapter(name: str) -> None:
            shapes[f"{name}.gamma"] = (1,)
            linear(f"{name}.dwconv", h, 1, 3)
            linear(f"{name}.conv", h, h, 1)
            linear(f"{name}.down_proj", h, c)
            linear(f"{name}.up_proj", c, h)

        def masked_conv(name: str, inputs: int) -> None:
            shapes[f"{name}.conv.weight"] = (d, inputs, 3)
            norm(f"{name}.norm", d)

        shapes[f"{BACKBONE}pos_embed"] = (1, 8 * self.grid**2, c)
        linear(f"{BACKBONE}patch_embed.projection", c, 3, 2, self.patch, self.patch)
        for i in range(self.depth):
            block = f"{BACKBONE}blocks.{i}"
            norm(f"{block}.norm1", c)
            shapes[f"{block}.attn.q_bias"] = shapes[f"{block}.attn.v_bias"] = (c,)
            shapes[f"{block}.attn.qkv.weight"] = (3 * c, c)
            linear(f"{block}.attn.proj", c, c)
            norm(f"{block}.norm2", c)
            linear(f"{block}.mlp.layers.0.0", self.mlp, c)
            linear(f"{block}.mlp.layers.1", c, self.mlp)
            if i in self.adapters:
                adapter(f"{block}.adapter")
        for j in range(self.side_adapters):
            adapter(f"{BACKBONE}ladders.adapters.{j}")
        if not self.side_adapters:
            norm(f"{BACKBONE}fc_norm", c)
        for i in range(self.embed):
            masked_conv(f"projection.embed.{i}", d if i else c)
        for name, count in (("stem", self.stem), ("branch", self.branch)):
            for i in range(count):
                block = f"projection.{name}.{i}"
                norm(f"{block}.ln1", d)
                norm(f"{block}.ln2", d)
                for part in ("query", "key", "value"):
                    shapes[f"{block}.attn.{part}_conv.conv.weight"] = (d, 1, 3)
                    norm(f"{block}.attn.{part}_norm", d)
                for part in ("query", "key", "value", "proj"):
                    linear(f"{block}.attn.{part}", d, d, 1)
                linear(f"{block}.mlp.0", 4 * d, d, 1)
                linear(f"{block}.mlp.3", d, 4 * d, 1)
                shapes[f"{block}.drop_path_attn.scale"] = shapes[f"{block}.drop_path_mlp.scale"] = (1, d, 1)
        for level in range(self.branch + 1):
            norm(f"neck.fpn_norms.{level}", d)
            shapes[f"rpn_head.scale.{level}.scale"] = ()
        for tower in ("cls_convs", "reg_convs"):
            for i in range(self.convs):
                masked_conv(f"rpn_head.{tower}.{i}", d)
        linear("rpn_head.cls_head", self.classes, d, 3)
        linear("rpn_head.reg_head", 2, d, 3)
        shapes["rpn_head.loss_normalizer"] = ()
        return shapes

    def state(self, seed: int) -> Tensors:
        """Draws random tensors, except for the fixed positions and the initial (integer) loss normaliser."""
        torch.manual_seed(seed)
        state = {key: torch.randn(shape) for key, shape in self.shapes().items()}
        state["rpn_head.loss_normalizer"] = torch.tensor(100)
        state[f"{BACKBONE}pos_embed"] = sinusoid(8 * self.grid**2, self.width)
        return state

    def config(self, classes_file: Path | None = None) -> Config:
        """Makes the configuration of a tiny detector of these dimensions."""
        length = 2**self.branch * 16
        adaptation = "side" if self.side_adapters else "tia" if self.adapters else "frozen"
        blocks = self.adapters or range(self.depth - self.side_adapters, self.depth)
        return Config().with_fields(
            {
                "data.window": length,
                "data.crop": 32,
                "data.test_short_side": 32,
                "data.class_agnostic": classes_file is None,
                "data.classes": str(classes_file or ""),
                "model.max_length": length,
                "model.size": "tiny",
                "model.image_size": IMAGE_SIZE,
                "model.dtype": "float32",
                "model.adaptation": adaptation,
                "model.tia_blocks": "all" if adaptation == "frozen" else ",".join(map(str, blocks)),
                "model.width": self.detector,
                "model.embed": self.embed,
                "model.stem": self.stem,
                "model.branch": self.branch,
                "model.head_convs": self.convs,
                "model.regression_ranges": tuple((float(i), float(i + 1)) for i in range(self.branch + 1)),
            }
        )


def sinusoid(length: int, width: int) -> torch.Tensor:
    """Computes VideoMAE's position table `[1, length, width]` in float64; returns it as float32."""
    rows = torch.arange(length, dtype=torch.float64)[:, None]
    channels = torch.arange(width)
    angle = rows / 10000.0 ** (2 * (channels // 2).double() / width)
    return torch.where(channels % 2 == 0, angle.sin(), angle.cos()).float()[None]


def labels(path: Path, count: int) -> Path:
    """Writes a class list of `count` labels."""
    path.write_text("".join(f"class {i}\n" for i in range(count)))
    return path


def shapes_alone(release: Release) -> dict[str, np.ndarray]:
    """Returns arrays with a detector's names and shapes that take no memory."""
    return {key: np.broadcast_to(np.float32(0), shape) for key, shape in release.shapes().items()}


def behind_module(state: Tensors) -> Tensors:
    return {f"module.{key}": value for key, value in state.items()}
