"""The backbone of a long window: the encoder on 16-frame chunks, temporal adapters across chunks, and pooling.

Attention never crosses chunks. A temporal adapter (TIA) runs over all tubelets of the window. Code that maps blocks
over groups of chunks must therefore map `Block` (attention and MLP), and never the adapter. Devices can share a window
chunk by chunk: then its adapters exchange one tubelet at each border, and its pooled features are gathered.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from adatad_jax.devices.window_shares import WindowShares
from adatad_jax.models.block_runs import BlockRun
from adatad_jax.models.encoder import (
    PIXEL_MEAN,
    PIXEL_STD,
    PYTORCH,
    Block,
    PatchEmbed,
    drop_path_rates,
    patchify,
    position_table,
    run_blocks,
)
from adatad_jax.models.layers import Dtype, Params, depth_factors
from adatad_jax.models.policy import MemoryPolicy
from adatad_jax.models.sizes import CHUNK_FRAMES, CHUNK_TUBELETS, ViTConfig
from adatad_jax.models.tia import TIA, as_windows

Stream = tuple[jax.Array, jax.Array | None]
"""Tokens `[B*N, 8*h*w, C]` float32 and, if adapters are beside the backbone, the sum of their outputs so far."""


class PlainBlock(Block):
    """A block without an adapter."""

    @nn.compact
    def __call__(self, carry: Stream, factors: jax.Array | None) -> Stream:  # type: ignore[override]
        """Maps the tokens of the stream, and passes the adapters' sum on; see `Block`."""
        x, side = carry
        return super().__call__(x, factors), side


class AdaptedBlock(Block):
    """A block with a temporal adapter (AdaTAD, arXiv 2311.17241): at its end, or beside the backbone (AdaTAD-dagger).

    Attributes:
      chunks: N, the number of chunks per window that this device has.
      shares: as in `Backbone`.
    """

    chunks: int = 0
    shares: WindowShares | None = None

    @nn.compact
    def __call__(self, carry: Stream, factors: jax.Array | None) -> Stream:  # type: ignore[override]
        """Maps the tokens of the stream, then applies the adapter to the whole window; see `Block`."""
        x, side = carry
        x = super().__call__(x, factors)
        window = as_windows(x, self.chunks)
        if side is not None:
            window = jax.lax.stop_gradient(window)
        adapter = TIA(self.config.tia_hidden, self.dtype, self.shares, self.config.temporal, name="tia")
        change = adapter(window).reshape(x.shape)
        return (x + change, None) if side is None else (x, side + change)


class Backbone(nn.Module):
    """VideoMAE on every 16-frame chunk of a window; the adapters' convolution runs over the whole window.

    With `config.side` (AdaTAD-dagger, arXiv 2311.17241), the output is that of the last block with an adapter plus the
    sum of all adapters, and no gradient flows through the blocks.

    Parameters of consecutive blocks of one kind are stacked on a leading layer axis under `blocks_FIRST_LAST`. If the
    parameters include `pos_embed` `[8*grid*grid, C]`, it replaces the fixed sinusoid table.

    Attributes:
      config: dimensions.
      dtype: in which matrix products compute.
      policy: what is kept for the backward pass, and how much is computed at once.
      unroll: whether to compute everything as it is defined, every block by itself, nothing in loops and nothing again:
        for counting operations, as XLA counts a loop's body once, and for comparison.
      shares: the s devices that share each window, in a function that is mapped over them; None: each device has its
        windows whole.
    """

    config: ViTConfig
    dtype: Dtype = jnp.float32
    policy: MemoryPolicy = MemoryPolicy()
    unroll: bool = False
    shares: WindowShares | None = None

    @nn.compact
    def __call__(self, frames: jax.Array, sample_ids: jax.Array | None = None) -> jax.Array:
        """Encodes windows.

        Args:
          frames: `[B, T, H, W, 3]` uint8 RGB, or this device's share of each window, `[B, T/s, H, W, 3]`; a multiple of
            16 frames.
          sample_ids: in training, `[B]` int, each window's index in the global batch. None draws no stochastic depth.

        Returns:
          `[B, T/2, C]` float32, one feature per tubelet of the whole window: the mean over h, w of the last block's
          output, without a final norm.

        Raises:
          ValueError: T is not a multiple of 16.
        """
        cfg = self.config
        batch, total, height, width = frames.shape[:4]
        if total % CHUNK_FRAMES:
            raise ValueError(f"frames {frames.shape}: {total} frames are no multiple of {CHUNK_FRAMES}")
        chunks = total // CHUNK_FRAMES
        x = (frames.astype(jnp.float32) - PIXEL_MEAN) / PIXEL_STD
        x = x.reshape(batch * chunks, CHUNK_FRAMES, height, width, 3)
        x = PatchEmbed(cfg.width, cfg.patch, self.dtype, name="patch_embed")(patchify(x, cfg.patch)).astype(jnp.float32)
        learned: jax.Array | None = self.get_variable("params", "pos_embed")
        x = x + position_table(cfg, height // cfg.patch, width // cfg.patch, learned)
        chunk_ids = None if sample_ids is None else self._chunk_ids(sample_ids, chunks)
        x = self._blocks(x, chunks, depth_factors(self, drop_path_rates(cfg), chunk_ids))
        features = x.reshape(batch, chunks * CHUNK_TUBELETS, -1, cfg.width).mean(2)
        return features if self.shares is None else self.shares.gather(features)

    def _chunk_ids(self, sample_ids: jax.Array, chunks: int) -> jax.Array:
        """Returns the indices in the global batch, `[B*chunks]`, of the chunks that this device has of its windows."""
        own, per_window = jnp.arange(chunks), chunks
        if self.shares is not None:
            own, per_window = own + self.shares.index() * chunks, chunks * self.shares.count
        return (sample_ids[:, None] * per_window + own).reshape(-1)

    def _blocks(self, x: jax.Array, chunks: int, factors: jax.Array | None) -> jax.Array:
        """Runs all blocks with their adapters on tokens `[B*N, 8*h*w, C]`."""
        if self.unroll or self.is_initializing():
            return self._plain_blocks(x, chunks, factors)
        cfg = self.config
        block = Block(cfg, self.dtype, PYTORCH, self.policy, parent=None)
        adapter = TIA(cfg.tia_hidden, self.dtype, self.shares, cfg.temporal, parent=None)
        total, tokens = jnp.zeros_like(x), x
        for first, last, has_tia in cfg.runs():
            params: Params = self.get_variable("params", f"blocks_{first}_{last}")
            its_factors = None if factors is None else factors[first : last + 1]
            run = BlockRun(block, adapter, params, chunks, its_factors, self.policy)
            if not has_tia:
                x = run.plain(x)
            elif cfg.side:
                x, total = run.beside(x, total)
                tokens = x
            else:
                x = run.adapted(x)
        # Beside the backbone, the last adapter's block is the last that is seen.
        return jax.lax.stop_gradient(tokens) + total if cfg.side else x

    def _plain_blocks(self, x: jax.Array, chunks: int, factors: jax.Array | None) -> jax.Array:
        """Runs all blocks as they are defined; makes their parameters."""
        cfg = self.config
        carry: Stream = (x, jnp.zeros_like(x) if cfg.side else None)
        for first, last, has_tia in cfg.runs():
            name = f"blocks_{first}_{last}"
            if has_tia:
                block: Block = AdaptedBlock(
                    cfg, self.dtype, PYTORCH, plain=True, chunks=chunks, shares=self.shares, name=name
                )
            else:
                block = PlainBlock(cfg, self.dtype, PYTORCH, plain=True, name=name)
            its_factors = None if factors is None else factors[first : last + 1]
            carry = run_blocks(block, carry, last + 1 - first, its_factors, self.unroll)
            if cfg.side and last == cfg.tia_blocks[-1]:
                tokens, side = carry
                assert side is not None
                beside = jax.lax.stop_gradient(tokens) + side
        return beside if cfg.side else carry[0]
