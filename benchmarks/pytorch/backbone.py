"""VideoMAE with temporal adapters (arXiv 2203.12602, 2311.17241) in PyTorch, on long windows.

Nothing here loses time by its form: fused attention, bias and product of q, k and v in one call, tokens contiguous with
channels last throughout (so that the depthwise convolution needs no copy), and frozen weights without gradients. Blocks
whose input has no gradient keep and recompute nothing: the backward pass ends at the first adapter.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from adatad_jax.models.encoder import PIXEL_MEAN, PIXEL_STD
from adatad_jax.models.positions import sinusoid_table
from adatad_jax.models.sizes import CHUNK_FRAMES, CHUNK_TUBELETS, TUBELET, ViTConfig


class Attention(nn.Module):
    """Self-attention among the tokens of a chunk; q and v have a learned bias, and k has none."""

    def __init__(self, width: int, heads: int) -> None:
        """Makes the layers."""
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias, self.v_bias = (nn.Parameter(torch.zeros(width)) for _ in range(2))
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Maps tokens `[N, tokens, C]` to the same shape."""
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        qkv = F.linear(x, self.qkv.weight, bias).view(*x.shape[:2], 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        out: Tensor = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return out


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        """Makes the layers."""
        super().__init__()
        self.layers = nn.Sequential(nn.Sequential(nn.Linear(width, hidden), nn.GELU()), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        """Maps tokens `[..., C]` to the same shape."""
        out: Tensor = self.layers(x)
        return out


class TIA(nn.Module):
    """Temporal-informative adapter (arXiv 2311.17241, section 3.2); its convolution spans the whole window."""

    def __init__(self, width: int, hidden: int) -> None:
        """Makes the layers."""
        super().__init__()
        self.down_proj, self.up_proj = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.dwconv = nn.Conv1d(hidden, hidden, 3, padding=1, groups=hidden)
        self.conv = nn.Conv1d(hidden, hidden, 1)
        self.gamma = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """Adds the adapter's output to windows `[B, t, h*w, C]`."""
        u = F.gelu(self.down_proj(x))
        # Seen as an image of t x h*w pixels whose channels are last, the windows need no copy for the convolution.
        kernel = self.dwconv.weight.unsqueeze(-1)
        v = F.conv2d(u.permute(0, 3, 1, 2), kernel, self.dwconv.bias, padding=(1, 0), groups=kernel.shape[0])
        v = F.linear(v.permute(0, 2, 3, 1), self.conv.weight.squeeze(-1), self.conv.bias)
        out: Tensor = x + self.up_proj(u + v) * self.gamma
        return out


class Block(nn.Module):
    """A pre-norm transformer block with a temporal adapter at its end.

    Attributes:
      rate: of stochastic depth.
      recompute: whether the activations are computed again in the backward pass.
    """

    def __init__(self, config: ViTConfig, rate: float, has_adapter: bool, recompute: bool) -> None:
        """Makes the layers."""
        super().__init__()
        self.rate, self.recompute = rate, recompute
        self.norm1, self.norm2 = (nn.LayerNorm(config.width, config.norm_eps) for _ in range(2))
        self.attn, self.mlp = Attention(config.width, config.heads), Mlp(config.width, config.mlp_hidden)
        self.adapter = TIA(config.width, config.tia_hidden) if has_adapter else None

    def forward(self, x: Tensor, chunks: int) -> Tensor:
        """Maps the tokens `[B*chunks, tokens, C]` of windows to the same shape."""
        if self.recompute and x.requires_grad:
            out: Tensor = checkpoint(self._compute, x, chunks, use_reentrant=False)
            return out
        return self._compute(x, chunks)

    def _compute(self, x: Tensor, chunks: int) -> Tensor:
        x = x + self._maybe_drop(self.attn(self.norm1(x)))
        x = x + self._maybe_drop(self.mlp(self.norm2(x)))
        if self.adapter is None:
            return x
        window = x.view(x.shape[0] // chunks, chunks * CHUNK_TUBELETS, -1, x.shape[-1])
        out: Tensor = self.adapter(window).view(x.shape)
        return out

    def _maybe_drop(self, y: Tensor) -> Tensor:
        """Applies stochastic depth to `[N, tokens, C]`, per chunk."""
        return drop_path(y, self.rate) if self.training else y


def drop_path(x: Tensor, rate: float) -> Tensor:
    """Drops whole rows of `[N, tokens, C]` at a rate, and scales the others so that the mean stays."""
    if rate == 0:
        return x
    return x * x.new_empty(x.shape[0], 1, 1).bernoulli_(1 - rate).div_(1 - rate)


class PatchEmbed(nn.Module):
    """Patch embedding: a 3-D convolution, which a GPU computes faster as one matrix product."""

    def __init__(self, width: int, patch: int) -> None:
        """Makes the layer."""
        super().__init__()
        kernel = (TUBELET, patch, patch)
        self.projection = nn.Conv3d(3, width, kernel, kernel)

    def forward(self, x: Tensor) -> Tensor:
        """Embeds normalised chunks `[N, 16, H, W, 3]` as tokens `[N, t*h*w, C]`."""
        if x.is_cuda:
            return self.as_product(x)
        tokens: Tensor = self.projection(x.permute(0, 4, 1, 2, 3)).flatten(2).transpose(1, 2)
        return tokens

    def as_product(self, x: Tensor) -> Tensor:
        """Embeds chunks, as `forward`, by one matrix product."""
        _, p, _ = self.projection.kernel_size
        n, frames, height, width = x.shape[:4]
        t, h, w = frames // TUBELET, height // p, width // p
        x = x[:, :, : h * p, : w * p].reshape(n, t, TUBELET, h, p, w, p, 3)
        x = x.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(n, t * h * w, -1)
        return F.linear(x, self.projection.weight.flatten(1), self.projection.bias)


class Backbone(nn.Module):
    """VideoMAE on every 16-frame chunk of a window, with adapters inside the blocks."""

    mean: Tensor
    std: Tensor
    positions: Tensor

    def __init__(self, config: ViTConfig, height: int, width: int, recompute: bool) -> None:
        """Makes the layers.

        Args:
          config: dimensions; without side adapters.
          height, width: of the frames, pixels.
          recompute: whether blocks compute their activations again in the backward pass.
        """
        super().__init__()
        if config.side:
            raise ValueError("adapters beside the backbone are not part of this reference")
        self.patch_embed = PatchEmbed(config.width, config.patch)
        rates = np.linspace(0, config.drop_path, config.depth)
        self.blocks = nn.ModuleList(
            Block(config, float(rate), block in config.tia_blocks, recompute) for block, rate in enumerate(rates)
        )
        self.register_buffer("mean", torch.from_numpy(PIXEL_MEAN), persistent=False)
        self.register_buffer("std", torch.from_numpy(PIXEL_STD), persistent=False)
        positions = _positions(config, height // config.patch, width // config.patch)
        self.register_buffer("positions", positions, persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Encodes windows `[B, T, H, W, 3]` uint8 as `[B, T/2, C]`, the mean over h, w of the last block's output."""
        batch, total, height, width = frames.shape[:4]
        chunks = total // CHUNK_FRAMES
        x = ((frames - self.mean) / self.std).view(batch * chunks, CHUNK_FRAMES, height, width, 3)
        x = self.patch_embed(x) + self.positions
        for block in self.blocks:
            x = block(x, chunks)
        features: Tensor = x.view(batch, chunks * CHUNK_TUBELETS, -1, x.shape[-1]).mean(2, dtype=torch.float32)
        return features


def _positions(config: ViTConfig, height: int, width: int) -> Tensor:
    """Returns the sinusoid table resized to frames of height x width patches, `[8*height*width, C]`."""
    grid = config.image_size // config.patch
    table = torch.from_numpy(sinusoid_table(CHUNK_TUBELETS * grid**2, config.width)).view(
        CHUNK_TUBELETS, grid, grid, -1
    )
    if (height, width) != (grid, grid):
        planes = table.permute(0, 3, 1, 2)
        table = F.interpolate(planes, (height, width), mode="bicubic", align_corners=False).permute(0, 2, 3, 1)
    return table.reshape(-1, config.width)
