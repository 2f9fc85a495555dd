"""An estimate of the memory that a detector needs, from its shapes alone, before anything is compiled."""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp

from adatad_jax.devices.memory import GIB
from adatad_jax.models.layers import Dtype
from adatad_jax.models.parameter_counts import Count, adapters_count, blocks_count, detector_count, sum_of_counts
from adatad_jax.models.policy import MemoryPolicy
from adatad_jax.models.sizes import CHUNK_FRAMES, CHUNK_TUBELETS, DetectorConfig, ViTConfig


@dataclass(frozen=True)
class Work:
    """What a device computes at once.

    Attributes:
      vit, detector: dimensions of the model.
      windows: their number.
      frames: of each window that this device has.
      side: of the frames, pixels.
      dtype: in which products compute.
      frozen_dtype: of frozen kernels.
      platform: of the device, as JAX names it.
      is_training: whether there are gradients and an optimiser.
      is_full: whether the backbone is trained.
      has_backbone: whether the backbone is computed, and not read as stored features.
      parts: of a batch, which are computed one after the other.
    """

    vit: ViTConfig
    detector: DetectorConfig
    windows: int
    frames: int
    side: int
    dtype: Dtype
    frozen_dtype: Dtype
    platform: str = "cpu"
    is_training: bool = False
    is_full: bool = False
    has_backbone: bool = True
    parts: int = 1

    @property
    def chunks(self) -> int:
        """Returns the number of 16-frame chunks, of all windows."""
        return self.windows * self.frames // CHUNK_FRAMES

    @property
    def tokens(self) -> int:
        """Returns the number of tokens of a chunk."""
        return CHUNK_TUBELETS * (self.side // self.vit.patch) ** 2

    @property
    def tokens_at_once(self) -> int:
        """Returns the number of tokens of all chunks."""
        return self.chunks * self.tokens

    @property
    def stream(self) -> int:
        """Returns the bytes of the residual stream."""
        return self.tokens_at_once * self.vit.width * 4

    @property
    def products(self) -> int:
        """Returns the bytes of the tokens as products give them."""
        return self.tokens_at_once * self.vit.width * self.product_bytes

    @property
    def product_bytes(self) -> int:
        """Returns the bytes of a number as products give it: XLA for CPUs computes those of bfloat16 in float32."""
        return 4 if self.platform == "cpu" else _bytes(self.dtype)

    @property
    def heads_at_once(self) -> int:
        """Returns the number of heads whose weights exist at a time (`chunk_attention`)."""
        if self.platform == "cpu":
            return 2
        return 0 if self.platform == "gpu" and _bytes(self.dtype) < 4 else self.vit.heads

    @property
    def trained(self) -> int:
        """Returns the bytes of the parameters that are trained, or may be."""
        trained = sum_of_counts(adapters_count(self.vit), detector_count(self.detector, self.vit.width))
        return 4 * (trained.total + (blocks_count(self.vit).total if self.is_full else 0))

    @property
    def frozen(self) -> int:
        """Returns the bytes of the parameters that are frozen."""
        count = Count() if self.is_full else blocks_count(self.vit)
        return _bytes(self.frozen_dtype) * count.kernels + 4 * count.rest


class Estimate(NamedTuple):
    """Memory in bytes, on each device.

    Attributes:
      arguments: parameters, their moments and average, and the frames.
      gradients: of the trained parameters.
      kept: of the forward pass for the backward pass.
      working: of what is at work at the peak.
    """

    arguments: int
    gradients: int
    kept: int
    working: int

    @property
    def total(self) -> int:
        """Returns the sum."""
        return sum(self)

    def describe(self) -> str:
        """Returns the sum and its parts, in GiB."""
        parts = ", ".join(
            f"{number / GIB:.2f} {name}" for name, number in self._asdict().items() if number or name == "working"
        )
        return f"{self.total / GIB:.1f} GiB ({parts})"


def estimate(work: Work, policy: MemoryPolicy) -> Estimate:
    """Estimates the memory that a training step or a prediction needs on each device.

    Args:
      work: what the device computes.
      policy: of the backbone.
    """
    pixels = work.windows * work.frames * work.side**2 * 3
    copies = 4 if work.is_training else 1  # parameters, their average, and two moments
    arguments = work.frozen + copies * work.trained + work.parts * pixels
    gradients = work.trained * min(work.parts, 2) if work.is_training else 0
    narrowed = _narrowed(work)
    if not work.has_backbone:
        kept, live, first = 0, 0, 0
    else:
        kept = _kept(work, policy) if work.is_training else 0
        live = _live(work, policy) + narrowed
        # Before the blocks, the frames are in float32; in training also as they are augmented.
        first = 5 * pixels + work.stream if work.is_training else 4 * pixels + round(_EMBEDDING * work.stream)
    # The update of the parameters, at the end, has the gradients twice.
    working = max(live, _detector(work), first - kept - gradients, gradients - kept)
    return Estimate(arguments, gradients, kept, working)


# Numbers of arrays that XLA holds, in sizes of what they are counted in. They follow from reading the layers, and were
# fitted to what `compiled.memory_analysis()` says (tests/models/test_memory_estimate.py).
_EMBEDDING = 2.5  # streams, while frames become tokens
_BLOCK_STREAMS, _BLOCK_PRODUCTS = 3.2, 2.2  # kept of a block of which groups are recomputed
_ATTENTION_KEPT, _MLP_KEPT = 7.0, 3.7  # kept beside them, where there are no groups: tokens; hidden tokens
_LIVE_STREAMS, _LIVE_PRODUCTS = 3.7, 3.0  # at work in a block's backward pass
_ATTENTION, _MLP, _WEIGHTS = 13.5, 2.1, 4  # of a group: tokens; hidden tokens of the MLP; weights of the heads at work
_FORWARD_STREAMS, _FORWARD_ATTENTION, _FORWARD_MLP = 3, 6, 1.6  # the same where nothing is kept
_DETECTOR_BLOCK, _DETECTOR_CONV, _DETECTOR_WEIGHTS = 24, 4, 2.8  # of the detector: sequences; matrices of weights


def _kept(work: Work, policy: MemoryPolicy) -> int:
    """Returns the bytes that the backbone's forward pass keeps."""
    vit = work.vit
    if vit.side:  # adapters alone have gradients: what they read is kept, or what they compute as well
        return round(len(vit.tia_blocks) * work.stream * (1 if policy.remat else 2.2))
    if not (work.is_full or vit.tia_blocks):
        return 0
    blocks = vit.depth if work.is_full else vit.depth - 1 - vit.tia_blocks[0]  # none before the first that learns
    if policy.remat:
        return round(blocks * work.stream * _bytes(policy.stream_dtype) / 4)
    block: float = _BLOCK_STREAMS * work.stream + _BLOCK_PRODUCTS * work.products
    at_once, in_mlp = _groups(work, policy)
    if at_once == work.chunks:
        block += _ATTENTION_KEPT * work.products
        if in_mlp == work.chunks:
            block += _MLP_KEPT * work.products * vit.mlp_hidden / vit.width
    return round(blocks * block)


def _live(work: Work, policy: MemoryPolicy) -> int:
    """Returns the bytes at work at the peak of a block."""
    vit, (at_once, in_mlp) = work.vit, _groups(work, policy)
    tokens = at_once * work.tokens * vit.width * work.product_bytes
    hidden = in_mlp * work.tokens * vit.mlp_hidden * work.product_bytes
    weights = _WEIGHTS * work.heads_at_once * work.tokens**2 * 4
    if not work.is_training or vit.side or not (work.is_full or vit.tia_blocks):
        forward = _FORWARD_STREAMS * work.stream
        return round(forward + max(_FORWARD_ATTENTION * tokens + weights / 2, _FORWARD_MLP * hidden))
    streams = _LIVE_STREAMS * work.stream + _LIVE_PRODUCTS * work.products
    # The MLP of a block that is not cut has its peak where attention has none.
    return round(streams + _ATTENTION * tokens + weights + (_MLP * hidden if at_once < work.chunks else 0))


def _groups(work: Work, policy: MemoryPolicy) -> tuple[int, int]:
    """Returns the number of chunks that are in a block at once, and how many of these in its MLP."""
    at_once = min(policy.attention_chunks or work.chunks, work.chunks)
    return at_once, min(policy.mlp_chunks or at_once, at_once)


def _narrowed(work: Work) -> int:
    """Returns the bytes of frozen kernels in the dtype of products, where they are in another one."""
    kernels, own, wanted = blocks_count(work.vit).kernels, _bytes(work.frozen_dtype), _bytes(work.dtype)
    if work.is_full or wanted < own:
        return kernels * wanted if wanted < 4 else 0
    return kernels // work.vit.depth * wanted if wanted > own else 0  # one block at a time


def _detector(work: Work) -> int:
    """Returns the bytes at work in the detector."""
    cfg, length = work.detector, work.detector.max_length
    sequence = work.windows * length * cfg.width * 4
    halves = [2.0**-level for level in range(cfg.branch + 1)]
    sizes = [1.0] * cfg.stem + halves[1:]
    blocks = sum(sizes) * _DETECTOR_BLOCK * sequence
    convs = _DETECTOR_CONV * sequence * (cfg.embed + 2 * cfg.head_convs * sum(halves))
    seen = [
        length * size if window is None else min(2.0 * window, length * size) for size, window in _levels(cfg, sizes)
    ]
    weights = sum(size * length * keys for size, keys in zip(sizes, seen, strict=True))
    whole = blocks + convs + _DETECTOR_WEIGHTS * work.windows * cfg.heads * weights * 4
    return round(whole if work.is_training else whole / 4)


def _levels(cfg: DetectorConfig, sizes: list[float]) -> list[tuple[float, int | None]]:
    """Returns the size and the attention window of each block."""
    windows = [cfg.windows[0]] * cfg.stem + list(cfg.windows[1:])
    return list(zip(sizes, windows, strict=True))


def _bytes(dtype: Dtype) -> int:
    return int(jnp.dtype(dtype).itemsize)
