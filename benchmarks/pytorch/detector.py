"""The ActionFormer detector (arXiv 2202.07925) in PyTorch: projection, neck and head, with global attention."""

import itertools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adatad_jax.models.sizes import DetectorConfig
from benchmarks.pytorch.backbone import drop_path

CONV_NORM_EPS, BLOCK_NORM_EPS = 1e-6, 1e-5


class Predictions(NamedTuple):
    """Outputs for B windows, of all P points, level by level, finest first.

    Attributes:
      logits: `[B, P, K]` float32.
      distances: `[B, P, 2]` float32, to start and end, in strides of the level.
      mask: `[B, P]` bool, valid points.
    """

    logits: Tensor
    distances: Tensor
    mask: Tensor


class Conv(nn.Conv1d):
    """A convolution of width 3 with padding 1 over time, or one of width 1, of tensors `[B, T, C]`."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[B, T, in]` to `[B, T/stride, out]`."""
        if self.kernel_size == (1,):
            return F.linear(x, self.weight.squeeze(-1), self.bias)
        # Seen as an image of height 1 whose channels are last, the sequence needs no copy.
        image, kernel = x.unsqueeze(1).permute(0, 3, 1, 2), self.weight.unsqueeze(2)
        out = F.conv2d(image, kernel, self.bias, (1, self.stride[0]), (0, 1), groups=self.groups)
        return out.permute(0, 2, 3, 1).squeeze(1)


def masked(x: Tensor, mask: Tensor) -> Tensor:
    """Zeroes `[B, T, C]` where the mask `[B, T]` is false."""
    return x * mask.unsqueeze(-1).to(x.dtype)


class MaskedConv(nn.Module):
    """A convolution of width 3 without bias, then mask, LayerNorm, ReLU and mask."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Makes the layers."""
        super().__init__()
        self.conv = Conv(inputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.LayerNorm(outputs, CONV_NORM_EPS)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Maps `[B, T, in]` to `[B, T, out]`."""
        return masked(F.relu(self.norm(masked(self.conv(x), mask))), mask)


class DepthwiseConv(nn.Module):
    """A depthwise convolution of width 3 without bias."""

    def __init__(self, width: int, stride: int) -> None:
        """Makes the layer."""
        super().__init__()
        self.conv = Conv(width, width, 3, stride, padding=1, groups=width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[B, T, C]` to `[B, T/stride, C]`."""
        out: Tensor = self.conv(x)
        return out


class MaskedAttention(nn.Module):
    """Multi-head attention whose q, k and v first pass a depthwise convolution, possibly strided, and a norm each."""

    def __init__(self, width: int, heads: int, stride: int) -> None:
        """Makes the layers."""
        super().__init__()
        self.heads = heads
        self.query_conv, self.key_conv, self.value_conv = (DepthwiseConv(width, stride) for _ in range(3))
        self.query_norm, self.key_norm, self.value_norm = (nn.LayerNorm(width, BLOCK_NORM_EPS) for _ in range(3))
        self.query, self.key, self.value, self.proj = (Conv(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Attends from all positions of `[B, T, C]` to the valid ones; `mask` is `[B, T/stride]`."""

        def split(y: Tensor) -> Tensor:
            return y.view(*y.shape[:2], self.heads, -1).transpose(1, 2)

        q = split(self.query(self.query_norm(self.query_conv(x))))
        k = split(self.key(self.key_norm(self.key_conv(x))))
        v = split(self.value(self.value_norm(self.value_conv(x))))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        return masked(self.proj(out.transpose(1, 2).flatten(2)), mask)


class AffineDropPath(nn.Module):
    """A learned scale per channel, then stochastic depth per sample."""

    def __init__(self, width: int, rate: float) -> None:
        """Makes the scale."""
        super().__init__()
        self.rate, self.scale = rate, nn.Parameter(torch.full((1, width, 1), 1e-4))

    def forward(self, x: Tensor) -> Tensor:
        """Scales `[B, T, C]`, and drops whole samples in training."""
        x = x * self.scale.view(-1)
        return drop_path(x, self.rate) if self.training else x


class TransformerBlock(nn.Module):
    """A pre-norm transformer block over time; stride 2 halves the sequence."""

    def __init__(self, config: DetectorConfig, stride: int) -> None:
        """Makes the layers."""
        super().__init__()
        width = config.width
        self.stride = stride
        self.ln1, self.ln2 = (nn.LayerNorm(width, BLOCK_NORM_EPS) for _ in range(2))
        self.attn = MaskedAttention(width, config.heads, stride)
        drop = nn.Dropout(config.dropout)
        self.mlp = nn.Sequential(Conv(width, 4 * width, 1), nn.GELU(), drop, Conv(4 * width, width, 1))
        self.drop_path_attn, self.drop_path_mlp = (AffineDropPath(width, config.drop_path) for _ in range(2))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Maps `[B, T, C]` to `[B, T/stride, C]`; `mask` is `[B, T/stride]`."""
        y = self.attn(self.ln1(x), mask)
        if self.stride > 1:
            x = F.max_pool1d(x.transpose(1, 2), 3, self.stride, 1).transpose(1, 2)
        x = masked(x, mask) + self.drop_path_attn(y)
        out: Tensor = x + self.drop_path_mlp(masked(self.mlp(self.ln2(x)), mask))
        return out


class Projection(nn.Module):
    """Embedding convolutions, stem blocks at full length, then blocks that each halve the length."""

    def __init__(self, config: DetectorConfig, inputs: int) -> None:
        """Makes the layers for features of `inputs` channels."""
        super().__init__()
        if any(config.windows) or config.absolute_positions or config.input_dropout:
            raise ValueError(f"{config}: local attention, positions and input dropout are not part of this reference")
        sizes = [inputs] + [config.width] * config.embed
        self.embed = nn.ModuleList(MaskedConv(a, b) for a, b in itertools.pairwise(sizes))
        self.stem = nn.ModuleList(TransformerBlock(config, 1) for _ in range(config.stem))
        self.branch = nn.ModuleList(TransformerBlock(config, 2) for _ in range(config.branch))

    def forward(self, x: Tensor, masks: list[Tensor]) -> list[Tensor]:
        """Builds L levels `[B, T_l, width]` from features `[B, T, inputs]`; `masks` are `[B, T_l]`."""
        for conv in self.embed:
            x = conv(x, masks[0])
        for block in self.stem:
            x = block(x, masks[0])
        levels = [x]
        for block, mask in zip(self.branch, masks[1:], strict=True):
            levels.append(block(levels[-1], mask))
        return levels


class Neck(nn.Module):
    """One LayerNorm per level."""

    def __init__(self, config: DetectorConfig) -> None:
        """Makes the norms."""
        super().__init__()
        self.fpn_norms = nn.ModuleList(nn.LayerNorm(config.width, CONV_NORM_EPS) for _ in config.strides)

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """Normalises levels of `[B, T_l, C]`."""
        return [norm(level) for norm, level in zip(self.fpn_norms, levels, strict=True)]


class Scale(nn.Module):
    """A learned factor."""

    def __init__(self) -> None:
        """Makes the factor."""
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))


class Head(nn.Module):
    """The class and boundary towers, which run once over all levels, laid end to end with an invalid position between.

    The release runs them once per level: more calls of the same work.
    """

    def __init__(self, config: DetectorConfig) -> None:
        """Makes the layers."""
        super().__init__()
        width, convs = config.width, config.head_convs
        self.cls_convs, self.reg_convs = (
            nn.ModuleList(MaskedConv(width, width) for _ in range(convs)) for _ in range(2)
        )
        self.cls_head, self.reg_head = Conv(width, config.classes, 3, padding=1), Conv(width, 2, 3, padding=1)
        self.scale = nn.ModuleList(Scale() for _ in config.strides)

    def forward(self, levels: list[Tensor], masks: list[Tensor]) -> Predictions:
        """Predicts from levels `[B, T_l, C]` and their masks `[B, T_l]`."""
        x = torch.cat([F.pad(level, (0, 0, 0, 1)) for level in levels], 1)
        mask = torch.cat([F.pad(mask, (0, 1)) for mask in masks], 1)
        classes = boundaries = x
        for conv in self.cls_convs:
            classes = conv(classes, mask)
        for conv in self.reg_convs:
            boundaries = conv(boundaries, mask)
        logits, distances = self.cls_head(classes).float(), self.reg_head(boundaries).float()
        points: list[tuple[Tensor, Tensor]] = []
        start = 0
        for level, scale in zip(levels, self.scale, strict=True):
            stop = start + level.shape[1]
            points.append((logits[:, start:stop], F.relu(distances[:, start:stop] * scale.scale)))
            start = stop + 1
        logits, distances = (torch.cat(parts, 1) for parts in zip(*points, strict=True))
        return Predictions(logits, distances, torch.cat(masks, 1))
